"""The error of a user's mistake, which tools show without a traceback."""


class UserError(Exception):
    """Something the user can mend; the message names the value or file and the remedy."""
