import dj_database_url
import django
from django.conf import settings
from django.db import models, transaction

# These two are for settings.py.
DATABASES = {"default": dj_database_url.config(conn_max_age=600)}  # reads DATABASE_URL
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True  # for transaction mode

settings.configure(DATABASES=DATABASES)
django.setup()


class User(models.Model):
    username = models.CharField(max_length=255)
    email = models.CharField()
    hashed_password = models.CharField()

    class Meta:
        app_label = "example"
        db_table = "users"
        managed = False


for number in range(10):
    name, email = f"ada{number}", f"ada{number}@example.com"
    with transaction.atomic():
        User.objects.create(username=name, email=email, hashed_password="x")
    assert User.objects.values_list("email", flat=True).get(username=name) == email
    User.objects.filter(username=name).delete()
