"""Tables, keys, logs, metrics, zones and certificates."""

import time

from stories.story import Story, bare


class DynamoDb(Story):
    services = ("dynamodb",)

    def fill(self, client):
        db = client("dynamodb")
        db.create_table(
            TableName="orders",
            KeySchema=[
                {"AttributeName": "id", "KeyType": "HASH"},
                {"AttributeName": "n", "KeyType": "RANGE"},
            ],
            AttributeDefinitions=[
                {"AttributeName": "id", "AttributeType": "S"},
                {"AttributeName": "n", "AttributeType": "N"},
                {"AttributeName": "state", "AttributeType": "S"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-state",
                    "KeySchema": [{"AttributeName": "state", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        for number in range(10):
            item = {
                "id": {"S": "a"},
                "n": {"N": str(number)},
                "state": {"S": "odd" if number % 2 else "even"},
            }
            db.put_item(TableName="orders", Item=item | {"blob": {"B": bytes([number])}})

    def look(self, client):
        db = client("dynamodb")
        return [
            db.describe_table(TableName="orders")["Table"],
            db.scan(TableName="orders")["Items"],
            db.query(
                TableName="orders",
                IndexName="by-state",
                KeyConditionExpression="#s = :odd",
                ExpressionAttributeNames={"#s": "state"},
                ExpressionAttributeValues={":odd": {"S": "odd"}},
            )["Items"],
        ]


class Kms(Story):
    services = ("kms",)

    def fill(self, client):
        kms = client("kms")
        key = kms.create_key(Description="orders")["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName="alias/orders", TargetKeyId=key)
        self.old = kms.encrypt(KeyId=key, Plaintext=b"secret")["CiphertextBlob"]
        self.signer = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")[
            "KeyMetadata"
        ]["KeyId"]

    def look(self, client):
        kms = client("kms")
        return [
            kms.list_aliases()["Aliases"],
            kms.describe_key(KeyId="alias/orders")["KeyMetadata"],
            bare(kms.get_public_key(KeyId=self.signer)),
        ]

    def work(self, client):
        assert client("kms").decrypt(CiphertextBlob=self.old)["Plaintext"] == b"secret"
        signed = client("kms").sign(
            KeyId=self.signer, Message=b"m", SigningAlgorithm="ECDSA_SHA_256"
        )
        assert signed["Signature"]


class Logs(Story):
    services = ("logs",)

    def fill(self, client):
        logs = client("logs")
        logs.create_log_group(logGroupName="/orders")
        logs.create_log_stream(logGroupName="/orders", logStreamName="s")
        now = int(time.time() * 1000)
        entries = [{"timestamp": now + n, "message": f"line {n}"} for n in range(5)]
        logs.put_log_events(logGroupName="/orders", logStreamName="s", logEvents=entries)

    def look(self, client):
        logs = client("logs")
        return [
            logs.describe_log_groups()["logGroups"],
            logs.get_log_events(logGroupName="/orders", logStreamName="s")["events"],
        ]


class CloudWatch(Story):
    services = ("cloudwatch",)

    def fill(self, client):
        cloudwatch = client("cloudwatch")
        cloudwatch.put_metric_data(
            Namespace="shop", MetricData=[{"MetricName": "orders", "Value": 7}]
        )
        # Of a metric without data: whenever it is evaluated first, that changes nothing.
        cloudwatch.put_metric_alarm(
            AlarmName="many",
            Namespace="shop",
            MetricName="returns",
            Statistic="Sum",
            Period=3600,
            EvaluationPeriods=1,
            Threshold=1e9,
            ComparisonOperator="GreaterThanThreshold",
        )

    def look(self, client):
        alarms = client("cloudwatch").describe_alarms()["MetricAlarms"]
        # Evaluated by each instance for itself, at times of its own.
        own = (
            "StateValue",
            "StateReason",
            "StateReasonData",
            "StateUpdatedTimestamp",
            "StateTransitionedTimestamp",
        )
        metrics = client("cloudwatch").list_metrics(Namespace="shop")["Metrics"]
        return [[{k: v for k, v in alarm.items() if k not in own} for alarm in alarms], metrics]


class Route53(Story):
    services = ("route53",)

    def fill(self, client):
        client("route53").create_hosted_zone(Name="example.com", CallerReference="1")

    def look(self, client):
        (zone,) = client("route53").list_hosted_zones()["HostedZones"]
        return [
            zone,
            client("route53").list_resource_record_sets(HostedZoneId=zone["Id"])[
                "ResourceRecordSets"
            ],
        ]


class Acm(Story):
    services = ("acm",)

    def fill(self, client):
        client("acm").request_certificate(DomainName="example.com")

    def look(self, client):
        acm = client("acm")
        arns = [
            summary["CertificateArn"]
            for summary in acm.list_certificates()["CertificateSummaryList"]
        ]
        return [arns, [acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] for arn in arns]]
