"""The only home of what makes a row sound: Python, REST, files and fixtures are all judged here, in the same words."""
