"""
Who may call becomes rows of the access matrix; what changes results becomes version 1.
"""

from django.db import migrations

CONTENT = ("config_keys", "extra_configurable", "open_configurable", "strict_config", "validation")
OF_CALLERS = {"run": True, "playground": True, "override_config": True}


def forwards(apps, schema_editor):
    Deployment = apps.get_model("langserve", "Deployment")
    DeploymentVersion = apps.get_model("langserve", "DeploymentVersion")
    Grant = apps.get_model("langserve", "Grant")
    for row in Deployment.objects.prefetch_related("groups"):
        if row.access == "groups":
            for group in row.groups.all():
                Grant.objects.create(deployment=row, audience="group", group=group, **OF_CALLERS)
        else:
            Grant.objects.create(deployment=row, audience=row.access, **OF_CALLERS)
        content = {name: getattr(row, name) for name in CONTENT}
        row.version = DeploymentVersion.objects.create(deployment=row, number=1, **content)
        if "playground" in row.endpoints and "chat" not in row.endpoints:
            row.endpoints = [*row.endpoints, "chat"]
        row.save(update_fields=["version", "endpoints"])


def backwards(apps, schema_editor):
    Deployment = apps.get_model("langserve", "Deployment")
    for row in Deployment.objects.select_related("version").prefetch_related("grants"):
        may_run = [grant for grant in row.grants.all() if grant.run]
        wide = [g.audience for g in may_run if g.audience in ("public", "authenticated", "staff")]
        row.access = wide[0] if wide else "groups"
        row.groups.set(grant.group for grant in may_run if grant.group_id)
        for name in CONTENT if row.version else ():
            setattr(row, name, getattr(row.version, name))
        row.endpoints = [name for name in row.endpoints if name != "chat"]
        row.save()


class Migration(migrations.Migration):
    dependencies = [("langserve", "0002_add_versions_rights_and_limits")]

    operations = [migrations.RunPython(forwards, backwards)]
