from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.utils.translation import gettext_lazy as _

from runnables.models import Canary, Deployment, DeploymentVersion

if TYPE_CHECKING:
    CanaryModelForm = forms.ModelForm[Canary]
    VersionChoiceField = forms.ModelChoiceField[DeploymentVersion]
else:  # Django's own classes take no subscript at run time.
    CanaryModelForm, VersionChoiceField = forms.ModelForm, forms.ModelChoiceField


class ShareForm(CanaryModelForm):
    """
    How a version is tried: on whom, and when it is stopped by itself.
    """

    class Meta:
        model = Canary
        fields = ("percent", "sticky_by", "stop_error_percent", "stop_min_requests")
        help_texts: ClassVar = {
            "sticky_by": _("The same caller is always answered by the same version."),
            "stop_error_percent": _("Empty: it is never stopped by itself."),
        }

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **{"initial": {"percent": 10}, **options})
        for name in ("percent", "stop_error_percent"):
            self.fields[name].widget.attrs.update({"min": 0, "max": 100, "step": "any"})


class VersionField(VersionChoiceField):
    def label_from_instance(self, obj: DeploymentVersion) -> str:
        return f"v{obj.number} {obj.note}".strip()


class StartForm(ShareForm):
    def __init__(self, data: Any = None, *, deployment: Deployment, **options: Any) -> None:
        super().__init__(data, **options)
        others = deployment.versions.exclude(pk=deployment.version_id or 0)
        self.fields["version"] = VersionField(label=_("version"), queryset=others, empty_label=None)
        self.order_fields(["version"])


class PercentForm(CanaryModelForm):
    class Meta:
        model = Canary
        fields = ("percent",)

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["percent"].widget.attrs.update({"min": 0, "max": 100, "step": "any"})
