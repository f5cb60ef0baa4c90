from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("langserve", "0003_move_access_and_config")]

    operations = [
        migrations.RemoveField(model_name='deployment', name='access'),
        migrations.RemoveField(model_name='deployment', name='groups'),
        migrations.RemoveField(model_name='deployment', name='config_keys'),
        migrations.RemoveField(model_name='deployment', name='extra_configurable'),
        migrations.RemoveField(model_name='deployment', name='open_configurable'),
        migrations.RemoveField(model_name='deployment', name='strict_config'),
        migrations.RemoveField(model_name='deployment', name='validation'),
    ]
