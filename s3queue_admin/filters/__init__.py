"""One language to say which messages are meant, for the SDK, the command line and the screens.

``state:dead error~timeout age>10m attempts>=3 payload.user.id=42 NOT (queue:emails OR group:eu)``: see docs/operator.md.
"""

from s3queue_admin.filters.completing import completions, word_start
from s3queue_admin.filters.errors import FilterError
from s3queue_admin.filters.fields import FIELDS, Field
from s3queue_admin.filters.parser import Filter, parse

__all__ = ["FIELDS", "Field", "Filter", "FilterError", "completions", "parse", "word_start"]
