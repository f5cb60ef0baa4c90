"""
What callers of the feedback endpoints may be told, beside the errors of every endpoint.
"""

from runnables.exceptions import NotFound, NotPermitted


class UnknownFeedback(NotFound):
    """
    No such feedback, or somebody else's.
    """

    code = "unknown_feedback"
    message = "There is no such feedback of yours."


class InvalidFeedbackToken(NotPermitted):
    """
    Not a token of ours, or one for another run, key or deployment.
    """

    code = "invalid_feedback_token"
    message = "This feedback token does not count here."


class ExpiredFeedbackToken(NotPermitted):
    code = "expired_feedback_token"
    message = "This feedback token has expired."
