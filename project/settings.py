"""
Settings of the site, all from the environment; docs/settings.md lists them.
"""

import sys
from datetime import timedelta
from pathlib import Path

import django
import environ
from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def secret_key() -> str:
    key: str = env.str("SECRET_KEY", "")
    if key:
        return key
    if DEBUG or "pytest" in sys.modules:
        return "insecure-key-for-development-and-tests-only-0123456789"
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Give the server a long random one, for example the output of: "
        "python -c 'import secrets; print(secrets.token_urlsafe(50))'. "
        "For a first try use `make demo`, which makes its own."
    )


def database() -> dict[str, object]:
    config: dict[str, object] = env.db("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
    if config["ENGINE"] == "django.db.backends.sqlite3":
        # Without these, 16 writers saw "database is locked" on 42 % of their transactions.
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        # Live-server tests share the database between processes: a file, never memory.
        config["TEST"] = {"NAME": str(BASE_DIR / "build" / "test.sqlite3")}
    return config


def caches() -> dict[str, dict[str, str]]:
    if REDIS_URL:
        return {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": REDIS_URL,
            }
        }
    return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}


def channel_layers() -> dict[str, dict[str, object]]:
    if REDIS_URL:
        return {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [REDIS_URL]},
            }
        }
    return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


def mail() -> dict[str, object]:
    """
    The settings that EMAIL_URL stands for, as this version of Django spells them.
    """
    # Whoever tries the site out finds the mails where the log is.
    at_hand = "consolemail://" if DEBUG or DEMO else "smtp://localhost:25"
    config: dict[str, object] = env.email_url("EMAIL_URL", at_hand)
    if django.VERSION < (6, 1):
        return config
    options = {
        name: config[f"EMAIL_{key}"]
        for name, key in MAIL_OPTIONS.items()
        if config.get(f"EMAIL_{key}")
    }
    return {"MAILERS": {"default": {"BACKEND": config["EMAIL_BACKEND"], "OPTIONS": options}}}


MAIL_OPTIONS = {
    "host": "HOST",
    "port": "PORT",
    "username": "HOST_USER",
    "password": "HOST_PASSWORD",
    "use_tls": "USE_TLS",
    "use_ssl": "USE_SSL",
    "file_path": "FILE_PATH",
}
DEBUG = env.bool("DEBUG", False)
DEMO = env.bool("DEMO", False)
HTTPS = env.bool("HTTPS", False)
REDIS_URL = env.str("REDIS_URL", "")
SECRET_KEY = secret_key()
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

INSTALLED_APPS = [
    # daphne serves `runserver` alone: elsewhere it costs 26 MiB and its start-up time.
    *(["daphne"] if "runserver" in sys.argv else []),
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "channels",
    "corsheaders",
    "drf_spectacular_sidecar",
    "knox",
    "rest_framework",
    "runnables",
    "feedback",
    "traces",
    *(["examples"] if DEMO else []),
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = caches()
CHANNEL_LAYERS = channel_layers()

SESSION_ENGINE = "runnables.sessions"
LOGIN_URL = LOGOUT_REDIRECT_URL = "accounts:login"
LOGIN_REDIRECT_URL = "langserve:tokens"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

FORCE_SCRIPT_NAME = env.str("FORCE_SCRIPT_NAME", "") or None
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
CSRF_FAILURE_VIEW = "runnables.views.csrf_failure"
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_ALLOW_CREDENTIALS = True
CORS_ALLOW_HEADERS = [
    *default_headers,
    "cache-control",
    "x-api-key",
    "x-deployment-version",
    "x-run-id",
]
CORS_EXPOSE_HEADERS = ["x-run-id", "x-deployment-version", "x-dropped-config", "retry-after"]

SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
if env.bool("TRUST_PROXY", False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    USE_X_FORWARDED_HOST = True

# Whole, for the handler serves requests below several prefixes.
STATIC_URL = f"{(FORCE_SCRIPT_NAME or '').rstrip('/')}/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG

# Our model stands in for knox's, whose own migrations would make an unused table all the same.
MIGRATION_MODULES = {"knox": None}
KNOX_TOKEN_MODEL = "langserve.ApiToken"  # noqa: S105 - a model, not a secret
REST_KNOX = {"TOKEN_TTL": timedelta(days=365), "AUTH_HEADER_PREFIX": "Bearer"}

globals().update(mail())
# Who hears of a canary that stopped for its errors. Django 6 takes addresses, 5.2 wants names too.
ADMINS = [
    mail if django.VERSION >= (6, 0) else (mail, mail) for mail in env.list("ADMINS", default=[])
]
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", "webmaster@localhost")

LANGSERVE = {
    "MODULES": env.list("RUNNABLES_MODULES", default=[]),
    "INLINE_PARSERS": env.bool("INLINE_PARSERS", True),
    "TRACES": env.bool("TRACES", True),
    # The proxy that is trusted with the scheme also says who called.
    "TRUSTED_PROXIES": 1 if env.bool("TRUST_PROXY", False) else 0,
    "METRICS_TOKEN": env.str("METRICS_TOKEN", ""),
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"secrets": {"()": "runnables.error_log.RedactingFilter"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["secrets"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", "INFO")},
}
