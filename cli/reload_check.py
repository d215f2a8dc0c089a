"""`python -m cli.reload_check`: would workers of this release and configuration start?

Asked by running workers before they are replaced: a database that is away, a wrong key or a broken
release must not end what still serves.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402

import click  # noqa: E402

from callflows import logs  # noqa: E402
from cli.main import settings_of  # noqa: E402
from cli.worker import look_around  # noqa: E402


def main() -> None:
    """End with 0 if they would; say what is the matter and end with 1 if not."""
    try:
        settings = settings_of()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    logs.configure(settings.log_format, settings.log_level)
    look_around(settings)


if __name__ == "__main__":
    main()
