"""What the OpenAPI schema shows of parameters, bodies and errors; tests hold it against the real answers."""

NEW = {
    "program_uuid": "9a241637-6370-5561-bfb1-6dd5655333f4",
    "reason": "BUNDLE_PURCHASE",
    "certainty": "CERTAIN_YES",
    "effective_timestamp": "2026-02-01T09:00:00Z",
}
# One of the report that the example host loads, so that its page can be tried at once.
LEARNER = 491011
INTENT = {"id": 58051, "learner": LEARNER, **NEW, "created": "2026-02-01T09:00:00.123456Z"}
REFUSED = {"certainty": ["Expected one of CERTAIN_YES, CERTAIN_NO, MAYBE, not 'YES'."]}
UNKNOWN = {"learner": ["No user is named by 8."]}
BATCH = {
    "created": 1,
    "duplicate": 0,
    "rejected": 1,
    "outcomes": [
        {"status": "created", "intent": INTENT, "errors": {}},
        {"status": "rejected", "intent": None, "errors": UNKNOWN},
    ],
}
LOSER = {
    **INTENT,
    "id": 58050,
    "certainty": "MAYBE",
    "reason": "VISITED",
    "effective_timestamp": "2026-02-02T00:00:00Z",
}
EXPLANATION = {
    "learner": LEARNER,
    "program_uuid": NEW["program_uuid"],
    "as_of": "2026-03-01T00:00:00Z",
    "known_at": None,
    "winner": INTENT,
    "lost": [{"intent": LOSER, "clause": "CERTAIN_BEATS_MAYBE", "words": "a certain intent beats MAYBE"}],
    "lost_left_out": 0,
    "not_counted": [],
    "not_counted_left_out": 0,
    "runs": {
        str(INTENT["id"]): {
            "id": 7,
            "kind": "file",
            "started": "2026-02-02T03:00:00Z",
            "source": "report.csv",
            "by": "operator",
        }
    },
}
COUNTS = {"CERTAIN_YES": 2, "CERTAIN_NO": 0, "MAYBE": 1}
CHANGES = {"intents": [{**INTENT, "learner_id": LEARNER}], "cursor": "1.58051"}
ERASURE = {"learner_id": LEARNER, "until": "2026-03-01T00:00:00Z"}
RETIREMENT = {"lms_user_id": LEARNER, "original_username": "ada"}
NO_KEY = {"lms_user_id": ["Expected an integer that names a user, not 'x'."]}
NO_MOMENT = {"since": ["Expected a date and time with an offset such as 2022-04-12T00:00:00Z, not 'yesterday'."]}
NO_CURSOR = {"after": ["Expected a cursor that an earlier call gave, not 'x'."]}
ETAG = 'W/"5d41402abc4b2a76b9719d911017c592"'
NO_PROGRAM = {"program_uuid": ["Expected a UUID, with or without hyphens, not 'x'."]}
