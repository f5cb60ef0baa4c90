"""
What the site keeps: one module per noun, all of them importable from here.
"""

from runnables.models.audit import AuditEntry
from runnables.models.deployment import Deployment, Grant, Revision
from runnables.models.figures import Figures, Health, ServerProcess
from runnables.models.history import ChatMessage, ChatSession
from runnables.models.limits import QuotaUse
from runnables.models.runs import CancelRequest
from runnables.models.sessions import Session
from runnables.models.tokens import ApiToken
from runnables.models.version import Canary, DeploymentVersion

__all__ = [
    "ApiToken",
    "AuditEntry",
    "Canary",
    "CancelRequest",
    "ChatMessage",
    "ChatSession",
    "Deployment",
    "DeploymentVersion",
    "Figures",
    "Grant",
    "Health",
    "QuotaUse",
    "Revision",
    "ServerProcess",
    "Session",
]
