"""
The demo site: `make demo`, which is `python -m examples.demo`.

It keeps all it has in `.demo/`: a SQLite file and a key of its own. Whatever the shell has
set for another site (its database, its key) does not reach it.
"""

# ruff: noqa: T201 - it talks to whoever started it

import argparse
import errno
import os
import secrets
import socket
import sys
from importlib.util import find_spec
from pathlib import Path

import django
import uvicorn
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import transaction

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
USERNAME = "demo"
# Settings that would point the demo at somebody else's site, or close it to plain loopback.
FOREIGN = ("CSRF_TRUSTED_ORIGINS", "FORCE_SCRIPT_NAME", "HTTPS", "REDIS_URL", "TRUST_PROXY")
OPEN_STREAMS_SECONDS = 2  # after Ctrl-C


def main() -> None:
    options = parse_arguments()
    if find_spec("project") is None:
        sys.exit("The demo is run in a checkout of django-langserve: make demo")
    use_settings_of_the_demo(options.state)
    if options.new_login:
        return renew_login()
    with listening(options.port) as listener:
        django.setup(set_prefix=False)
        call_command("migrate", verbosity=0)
        call_command("langserve", "sync")
        greet(options.port)
        serve(listener)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo", description="Serve the examples."
    )
    parser.add_argument("--port", type=int, default=8000, help="8000 unless given")
    parser.add_argument("--state", type=Path, default=ROOT / ".demo", help="where to keep its data")
    parser.add_argument(
        "--new-login",
        action="store_true",
        help="give the demo user a new password and token, and end",
    )
    return parser.parse_args()


def use_settings_of_the_demo(state: Path) -> None:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in FOREIGN:
        os.environ.pop(name, None)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "project.settings",
        "DEMO": "1",
        "SECRET_KEY": secret_key(state / "secret_key"),
        "DATABASE_URL": f"sqlite:///{state.resolve() / 'db.sqlite3'}",
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
    }


def secret_key(file: Path) -> str:
    """
    The key in the file, which is made, for its owner alone, if there is none.
    """
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text()
    with os.fdopen(handle, "w") as new:
        new.write(secrets.token_urlsafe(50))
    return file.read_text()


def listening(port: int) -> socket.socket:
    """
    The socket to serve on; taken before anything is set up, so that nobody waits for a refusal.
    """
    try:
        return socket.create_server((HOST, port), backlog=2048)
    except OverflowError:
        sys.exit(f"{port} is no port: it has to be between 1 and 65535.")
    except OSError as error:
        taken = "another program uses it" if error.errno == errno.EADDRINUSE else error.strerror
        sys.exit(f"Port {port} cannot be had: {taken}. Name another: make demo PORT={port + 1}")


def greet(port: int) -> None:
    url = f"http://localhost:{port}"
    print(f"""
django-langserve serves its examples:

  deployments  {url}/deployments/
  admin        {url}/admin/
  a call       curl {url}/joke/invoke -d '{{"input": {{"topic": "cats"}}}}'
""")
    if get_user_model().objects.filter(username=USERNAME).exists():
        print(f"The first run showed the login of {USERNAME}. For a new one: make demo-login\n")
    else:
        print_login(*new_login())
    print("Ctrl-C stops it.", flush=True)


def renew_login() -> None:
    django.setup(set_prefix=False)
    call_command("migrate", verbosity=0)
    print_login(*new_login())


def print_login(password: str, token: str) -> None:
    print(f"""\
Shown only now:

  user         {USERNAME}
  password     {password}
  token        {token}
""")


def new_login() -> tuple[str, str]:
    """
    A new password and token of the demo user, who is made if need be; the old ones end.
    """
    from runnables.models import ApiToken  # noqa: PLC0415 - models stand only after django.setup

    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        user, _ = get_user_model().objects.get_or_create(
            username=USERNAME, defaults={"is_staff": True, "is_superuser": True}
        )
        user.set_password(password)
        user.save()
        ApiToken.objects.filter(user=user).delete()
        _, token = ApiToken.objects.create(user, name="demo")
    return password, token


def serve(listener: socket.socket) -> None:
    config = uvicorn.Config(
        "project.asgi:application", timeout_graceful_shutdown=OPEN_STREAMS_SECONDS
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print()
