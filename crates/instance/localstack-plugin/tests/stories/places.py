"""Services in two accounts and two regions, as tests/localstack/fill_and_compare.py fills them.

The end-to-end tests of podsync use the same program; here each of its services is saved by itself.
"""

import fill_and_compare as world

from stories.story import Story


class S3(Story):
    services = ("s3",)
    everywhere = False
    survives = "buckets, versions, tags, unfinished uploads; they can be finished"

    def fill(self, client):
        for account, region in world.PLACES:
            world.fill_s3(client("s3", account, region), account, region)

    def look(self, client):
        return [world.dump_s3(client("s3", *place)) for place in world.PLACES]

    def work(self, client):
        """What was begun in the source is finished here."""
        s3 = client("s3")
        bucket = f"history-{world.ACCOUNT}-{world.REGION}"
        (upload,) = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
        which = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        parts = [
            {"PartNumber": part["PartNumber"], "ETag": part["ETag"]}
            for part in s3.list_parts(**which)["Parts"]
        ]
        s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})
        found = s3.get_object(Bucket=bucket, Key=upload["Key"])["Body"].read()
        assert found == b"half of it"
        s3.put_object(Bucket=bucket, Key="first", Body=b"version 3")
        versions = s3.list_object_versions(Bucket=bucket, Prefix="first")["Versions"]
        assert len(versions) == 5 and versions[0]["IsLatest"]


class Queues(Story):
    services = ("sqs",)
    everywhere = False

    def fill(self, client):
        for place in world.PLACES:
            world.fill_sqs(client("sqs", *place))

    def look(self, client):
        found = [client("sqs", *place) for place in world.PLACES]
        return [world.dump_sqs(sqs, sqs.meta.endpoint_url) for sqs in found]


class Ssm(Story):
    services = ("ssm",)
    everywhere = False
    survives = "parameters with history and labels, documents"

    def fill(self, client):
        for place in world.PLACES:
            world.fill_ssm(client("ssm", *place))

    def look(self, client):
        return [world.dump_ssm(client("ssm", *place)) for place in world.PLACES]

    def work(self, client):
        ssm = client("ssm")
        (name, *_) = (it["Name"] for it in ssm.describe_parameters()["Parameters"])
        before = ssm.get_parameter(Name=name)["Parameter"]["Version"]
        ssm.put_parameter(Name=name, Value="new", Type="String", Overwrite=True)
        assert ssm.get_parameter(Name=name)["Parameter"]["Version"] == before + 1


class SecretsManager(Story):
    services = ("secretsmanager",)
    everywhere = False
    survives = "secrets, versions and stages"

    def fill(self, client):
        for place in world.PLACES:
            world.fill_secrets(client("secretsmanager", *place))

    def look(self, client):
        return [world.dump_secrets(client("secretsmanager", *place)) for place in world.PLACES]

    def work(self, client):
        secrets = client("secretsmanager")
        arn = secrets.list_secrets()["SecretList"][0]["ARN"]
        before = secrets.get_secret_value(SecretId=arn)["VersionId"]
        secrets.put_secret_value(SecretId=arn, SecretString="new")
        old = secrets.get_secret_value(SecretId=arn, VersionStage="AWSPREVIOUS")
        assert old["VersionId"] == before


class Iam(Story):
    services = ("iam",)
    everywhere = False
    survives = "users, roles, groups, policies, access keys"

    def fill(self, client):
        for account in (world.ACCOUNT, world.OTHER_ACCOUNT):
            world.fill_iam(client("iam", account))

    def look(self, client):
        return [
            world.dump_iam(client("iam", account))
            for account in (world.ACCOUNT, world.OTHER_ACCOUNT)
        ]

    def work(self, client):
        iam = client("iam")
        user = iam.list_users()["Users"][0]["UserName"]
        iam.tag_user(UserName=user, Tags=[{"Key": "k", "Value": "v"}])
        assert {"Key": "k", "Value": "v"} in iam.list_user_tags(UserName=user)["Tags"]
