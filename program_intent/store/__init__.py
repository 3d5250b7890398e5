"""The only code that writes: a judged row goes in once, whoever brings it and however often."""
