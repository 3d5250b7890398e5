from django.db import migrations, models

LINK = models.OneToOneField("program_intent.programintent", models.CASCADE, parent_link=True, primary_key=True)


class Migration(migrations.Migration):
    initial = True
    dependencies = [("program_intent", "0001_initial")]
    operations = [
        migrations.CreateModel("ProxyIntent", [], {"proxy": True}, bases=("program_intent.programintent",)),
        migrations.CreateModel(
            "ChildIntent",
            [("programintent_ptr", LINK), ("note", models.TextField())],
            bases=("program_intent.programintent",),
        ),
    ]
