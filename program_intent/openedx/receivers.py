"""What the plugin loader of an LMS connects to its signals."""

from typing import Any

from program_intent.exceptions import ProgramIntentError
from program_intent.read.parameters import written_to
from program_intent.store.erase import erase
from program_intent.validation.learners import key_of


def forget_retired(*, user: Any, **kwargs: Any) -> None:
    """Erase a learner whom the LMS retires, by what they were called before; whatever is raised stops the retirement.

    It may come again, when the user's row has other names already: the LMS keeps the old ones beside it.

    :raises ProgramIntentError: the retirement has not begun.
    """
    status = getattr(user, "userretirementstatus", None)
    if status and status.current_state.state_name == "PENDING":
        raise ProgramIntentError("The retirement is PENDING, and until it begins the learner may change their mind.")
    names = (("username", status.original_username), ("email", status.original_email)) if status else ()
    erase(key_of(user), using=written_to(), by="retirement", retired=True, names=names)
