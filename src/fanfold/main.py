"""The whole product on two screens: what a process has, what a request passes through, and where it ends."""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import fields
from functools import cache, partial

from fastapi import FastAPI
from fastapi.middleware import Middleware
from fastapi.routing import APIRoute
from pydantic import ValidationError

import fanfold
from fanfold.admin.audit_router import router as admin_audit_router
from fanfold.admin.grants_router import router as grants_router
from fanfold.admin.jobs_router import router as admin_jobs_router
from fanfold.admin.outcomes_router import router as admin_outcomes_router
from fanfold.admin.plans_router import router as plans_router
from fanfold.admin.router import router as admin_router
from fanfold.admin.upstreams_router import router as admin_upstreams_router
from fanfold.admin.usage_router import router as admin_usage_router
from fanfold.admin.users_router import router as users_router
from fanfold.aliases.chat import router as chat_alias_router
from fanfold.aliases.router import router as aliases_router
from fanfold.aliases.sign_in import token_alias, users_me_router
from fanfold.api_keys.router import router as api_keys_router
from fanfold.auth.buckets import buckets_of
from fanfold.auth.holders import holders_of
from fanfold.auth.middleware import AuthenticationMiddleware
from fanfold.auth.origins import Origins
from fanfold.auth.routes import RouteTable
from fanfold.auth.schemes import SECURITY_SCHEMES, security_of
from fanfold.auth.sockets import SocketAuthenticationMiddleware
from fanfold.core.application import Application
from fanfold.core.config import Settings
from fanfold.core.cors import CorsMiddleware
from fanfold.core.direct import DirectMiddleware
from fanfold.core.documentation import mount_documentation
from fanfold.core.dotenv import DotEnvUnreadable
from fanfold.core.drain import Drain, DrainMiddleware
from fanfold.core.garbage import seldom_collected
from fanfold.core.health import LivenessMiddleware, health_router
from fanfold.core.openapi import install_openapi
from fanfold.core.problems import install_problem_handlers
from fanfold.core.problems import router as problems_router
from fanfold.core.routing import Router
from fanfold.core.security_headers import SecurityHeadersMiddleware
from fanfold.core.sockets import SocketMiddleware
from fanfold.core.startup import explain
from fanfold.core.stopping import stopping_gently
from fanfold.core.telemetry.exposition import Exposition, metrics_router
from fanfold.core.telemetry.logging import configure_logging
from fanfold.core.telemetry.metrics import Metrics
from fanfold.core.telemetry.middleware import TelemetryMiddleware
from fanfold.core.telemetry.workers import is_worker
from fanfold.core.trusted_hosts import TrustedHostMiddleware
from fanfold.jobs.events_router import router as job_events_router
from fanfold.jobs.intake_router import DIRECT as DIRECT_JOBS
from fanfold.jobs.intake_router import job_intake
from fanfold.jobs.intake_router import router as job_intake_router
from fanfold.jobs.reading_router import router as jobs_reading_router
from fanfold.jobs.steering_router import router as jobs_steering_router
from fanfold.limits.router import router as limits_router
from fanfold.members.account_router import router as account_end_router
from fanfold.members.export_router import router as tenant_export_router
from fanfold.members.invitations_router import router as invitations_router
from fanfold.members.router import router as members_router
from fanfold.members.tenant_router import router as tenant_router
from fanfold.members.tenants_router import router as tenants_router
from fanfold.oauth.clients_router import router as clients_router
from fanfold.oauth.errors import OAuthError
from fanfold.oauth.metadata_router import PATHS as METADATA_PATHS
from fanfold.oauth.metadata_router import router as metadata_router
from fanfold.oauth.route import answer_refusal
from fanfold.oauth.router import router as oauth_router
from fanfold.oauth.router import token, token_router
from fanfold.oauth.sessions_router import router as sessions_router
from fanfold.operation import is_operator, observed, readiness_checks
from fanfold.processing.dependencies import processing_service
from fanfold.processing.router import DIRECT as DIRECT_PROCESS
from fanfold.processing.router import router as processing_router
from fanfold.processing.sockets.router import router as sockets_router
from fanfold.ratelimit.concurrency.middleware import ConcurrencyMiddleware
from fanfold.ratelimit.middleware import RateLimitMiddleware
from fanfold.resources import Resources, open_resources
from fanfold.upstreams.router import router as upstreams_router
from fanfold.usage.events_router import router as usage_events_router
from fanfold.usage.outcomes_router import router as outcomes_router
from fanfold.usage.router import router as usage_router
from fanfold.usage.statement_router import router as usage_statement_router
from fanfold.users.accounts_router import PATHS as ACCOUNT_PATHS
from fanfold.users.accounts_router import accounts_router
from fanfold.users.limiter import AddressLimiter
from fanfold.users.me_router import router as me_router
from fanfold.users.totp_router import router as totp_router
from fanfold.webhooks.deliveries_router import router as webhook_deliveries_router
from fanfold.webhooks.router import router as webhooks_router
from fanfold.working import beside

ROUTERS: tuple[Router, ...] = (
    processing_router,
    job_intake_router,
    sockets_router,
    jobs_reading_router,
    job_events_router,
    jobs_steering_router,
    upstreams_router,
    api_keys_router,
    usage_router,
    usage_events_router,
    usage_statement_router,
    outcomes_router,
    limits_router,
    admin_router,
    grants_router,
    admin_upstreams_router,
    admin_usage_router,
    admin_outcomes_router,
    admin_jobs_router,
    plans_router,
    users_router,
    admin_audit_router,
    totp_router,
    oauth_router,
    me_router,
    tenants_router,
    tenant_router,
    members_router,
    invitations_router,
    account_end_router,
    tenant_export_router,
    webhooks_router,
    webhook_deliveries_router,
    problems_router,
    clients_router,
    sessions_router,
    metadata_router,
    aliases_router,
    chat_alias_router,
    users_me_router,
)

# Open to anybody, with a rate limit by address; everything else states what it requires.
PUBLIC_PATHS = frozenset(
    {
        "/",
        "/ping",
        "/healthz",
        "/readyz",
        "/metrics",
        "/problems",
        "/problems/{code}",
        "/docs",
        "/docs/assets",
        "/redoc",
        "/openapi.json",
        "/v1/auth/token",
        "/v1/auth/revoke",
        "/token",
        *METADATA_PATHS,
        *ACCOUNT_PATHS,
    }
)

_FAILED_START = (
    3  # the exit code at which uvicorn's and gunicorn's parents end too, instead of starting workers anew
)

OpenResources = Callable[[Settings], AbstractAsyncContextManager[Resources]]


def create_app(settings: Settings | None = None, *, open_all: OpenResources = open_resources) -> FastAPI:
    """Return the application; what it needs is opened when it starts and closed when it ends."""
    settings = settings or Settings()
    metrics, drain = Metrics(), Drain()
    exposition = Exposition(metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.route_table = RouteTable(app.routes, public=PUBLIC_PATHS)
        server = settings.server
        stops = stopping_gently(
            drain, delay_s=server.drain_delay_s, grace_s=server.drain_s, is_alone=not is_worker()
        )
        with _logged(settings, metrics):
            async with stops, open_all(settings) as resources, observed(resources, metrics, exposition):
                for field in fields(resources):
                    setattr(app.state, field.name, getattr(resources, field.name))
                app.state.processing = processing_service(app.state)
                app.state.job_intake = job_intake(app.state)
                async with beside(resources, metrics, drain):
                    with seldom_collected():
                        yield

    app = Application(
        title="Fanfold",
        version=fanfold.__version__,
        description=f"{fanfold.__doc__} Authorize with an API key or sign in, then try `POST /v1/process`.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        generate_unique_id_function=_operation_id,
        middleware=_middleware(settings, metrics, drain),
    )
    app.state.settings = settings
    app.state.drain = drain
    app.state.count = metrics.count
    app.state.count_calls = partial(_count_calls, metrics)
    for router in (*ROUTERS, *_limited_by_address(settings)):
        router.put_into(app)
    health_router(readiness_checks(app), drain).put_into(app)
    metrics_router(exposition, is_operator=is_operator).put_into(app)
    mount_documentation(app, settings)
    install_problem_handlers(app)
    app.add_exception_handler(OAuthError, answer_refusal)
    security = security_of(app.routes, public=PUBLIC_PATHS)
    install_openapi(app, schemes=SECURITY_SCHEMES, security=security)
    return app


def _limited_by_address(settings: Settings) -> Iterator[Router]:
    limiter, identity = AddressLimiter(settings.server.trusted_proxies), settings.identity
    yield accounts_router(limiter, identity)
    signs_in = limiter.limit(identity.login_rate)(token)
    yield token_router(signs_in)
    yield token_alias(signs_in)


def _middleware(settings: Settings, metrics: Metrics, drain: Drain) -> list[Middleware]:
    """Return what a request passes through, the outermost first."""
    server = settings.server
    # Outside authentication and limits, so that a browser may read a 401 and a 429 too.
    cors = Middleware(CorsMiddleware, origins=server.cors_origins, credentials=server.cors_credentials)
    return [
        Middleware(SecurityHeadersMiddleware, https=server.own_url.startswith("https://")),
        Middleware(TelemetryMiddleware, metrics=metrics),
        Middleware(LivenessMiddleware),
        Middleware(SocketMiddleware),
        Middleware(TrustedHostMiddleware, allowed=server.allowed_hosts),
        *([cors] if server.cors_origins else []),
        Middleware(DrainMiddleware, drain=drain),
        Middleware(AuthenticationMiddleware),
        Middleware(
            SocketAuthenticationMiddleware,
            origins=Origins(server.own_url, server.cors_origins),
            trusted_proxies=server.trusted_proxies,
            on_refusal=partial(metrics.count, "fanfold_rate_limited_total"),
        ),
        Middleware(
            RateLimitMiddleware,
            store_of=lambda scope: scope["app"].state.rate_limit_store,
            buckets_of=buckets_of(server.trusted_proxies),
            on_refusal=partial(metrics.count, "fanfold_rate_limited_total"),
        ),
        Middleware(
            ConcurrencyMiddleware,
            limiter_of=lambda scope: scope["app"].state.concurrency,
            holders_of=holders_of,
            on_refusal=partial(metrics.count, "fanfold_concurrency_refused_total"),
        ),
        Middleware(
            DirectMiddleware,
            answers={"/v1/process": DIRECT_PROCESS, "/v1/jobs": DIRECT_JOBS},
            headers=frozenset({b"idempotency-key"}),
        ),
    ]


@contextmanager
def _logged(settings: Settings, metrics: Metrics) -> Iterator[None]:
    logs = configure_logging(settings)
    metrics.watch("fanfold_log_dropped_total", lambda: logs.dropped)
    try:
        yield
    finally:
        logs.close()


def _count_calls(metrics: Metrics, code: str, calls: int) -> None:
    metrics.count("fanfold_fan_out_calls_total", code, amount=calls)


def _operation_id(route: APIRoute) -> str:
    return route.name


@cache
def _served() -> FastAPI:
    try:
        return create_app()
    except (ValidationError, DotEnvUnreadable) as error:
        sys.stderr.write(f"Cannot start. {explain(error)}\n")
        raise SystemExit(_FAILED_START) from None


def __getattr__(name: str) -> FastAPI:
    """Make `app` when a server asks for it: who imports no more than this module needs no settings."""
    if name != "app":
        raise AttributeError(name)
    return _served()
