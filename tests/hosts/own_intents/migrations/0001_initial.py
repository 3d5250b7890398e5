from django.db import migrations, models

LINK = models.OneToOneField("program_intent.programintent", models.CASCADE, parent_link=True, primary_key=True)
USER = models.OneToOneField("auth.user", models.CASCADE, parent_link=True)


class Migration(migrations.Migration):
    initial = True
    dependencies = [("program_intent", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.CreateModel("ProxyIntent", [], {"proxy": True}, bases=("program_intent.programintent",)),
        migrations.CreateModel(
            "ChildIntent",
            [("programintent_ptr", LINK), ("note", models.TextField())],
            bases=("program_intent.programintent",),
        ),
        migrations.CreateModel(
            "Student",
            [("sid", models.BigAutoField(primary_key=True, serialize=False)), ("user", USER)],
            bases=("auth.user",),
        ),
    ]
