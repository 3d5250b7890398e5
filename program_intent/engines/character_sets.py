"""Which texts a database's character set can spell, judged by Python's codecs."""


def spells(text: str, codec: str) -> bool:
    """Whether the codec has every character of the text; one that Python does not know is taken to."""
    try:
        text.encode(codec)
    except LookupError:
        return True
    except UnicodeEncodeError:
        return False
    return True
