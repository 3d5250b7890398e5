from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel("Person", [("code", models.CharField(max_length=20, primary_key=True))]),
        migrations.CreateModel(
            "Learner",
            [
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                ("person", models.OneToOneField("linked_user.person", models.CASCADE, primary_key=True)),
                ("username", models.CharField(max_length=20, unique=True)),
            ],
        ),
    ]
