"""
A view or consumer that serves a runnable of its own, beside the deployments: full control
in code, with the same gate, config rules, errors and wire.
"""

from __future__ import annotations

from typing import Any, ClassVar

from runnables import snapshot
from runnables.served import ServedDeployment, own_deployment


class OwnDeployment:
    """
    `runnable` with `deployment_options` (those of `register`: access, config_keys, …) makes
    a deployment that no row knows, so that staff cannot switch it. Without a runnable the
    deployment is the one at the path.

    A subclass may write `modify_config(self, config, request)`, sync or async, which stands
    for the registered `per_req_config_modifier`.
    """

    runnable: Any = None
    deployment_options: ClassVar[dict[str, Any]] = {}
    modify_config: Any = None

    _made: ClassVar[dict[tuple[type, int], ServedDeployment]] = {}

    def find_deployment(self, path: str) -> ServedDeployment:
        """
        The one of `runnable`, or that at the path; raises UnknownDeployment.
        """
        if self.runnable is None:
            return snapshot.find(path)
        # The deployment keeps its runnable, and so the key stays true.
        key = (type(self), id(self.runnable))
        if key not in self._made:
            name = type(self).__name__
            self._made[key] = own_deployment(name, self.runnable, self.deployment_options)
        return self._made[key]
