"""Tables, keys, logs, metrics, zones and certificates."""

import json
import time

from stories.story import Story, bare, queue_arn, received


class DynamoDb(Story):
    services = ("dynamodb",)
    survives = "on moto: tables, items, indexes"
    refused = "LocalStack's own: items lie in DynamoDB Local, and each save says so"

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

    def work(self, client):
        db = client("dynamodb")
        db.update_item(
            TableName="orders",
            Key={"id": {"S": "a"}, "n": {"N": "3"}},
            UpdateExpression="SET #s = :s",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":s": {"S": "even"}},
        )
        even = db.query(
            TableName="orders",
            IndexName="by-state",
            KeyConditionExpression="#s = :s",
            ExpressionAttributeNames={"#s": "state"},
            ExpressionAttributeValues={":s": {"S": "even"}},
        )
        assert even["Count"] == 6
        db.delete_table(TableName="orders")


class Kms(Story):
    services = ("kms",)
    survives = "keys with their material, aliases; old ciphertext is decrypted"

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
    survives = "groups, streams, events"

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

    def work(self, client):
        logs = client("logs")
        entry = {"timestamp": int(time.time() * 1000), "message": "one more"}
        logs.put_log_events(logGroupName="/orders", logStreamName="s", logEvents=[entry])
        found = logs.filter_log_events(logGroupName="/orders")["events"]
        assert sorted(event["message"] for event in found)[-1] == "one more"
        assert len(found) == 6
        logs.delete_log_group(logGroupName="/orders")


class CloudWatch(Story):
    services = ("cloudwatch", "sns", "sqs")
    survives = "alarms, which are evaluated and act, dashboards, metrics"
    refused = "what LocalStack measures of its own queues"

    def fill(self, client):
        cloudwatch = client("cloudwatch")
        cloudwatch.put_metric_data(
            Namespace="shop", MetricData=[{"MetricName": "orders", "Value": 7}]
        )
        topic = client("sns").create_topic(Name="alarms")["TopicArn"]
        client("sns").subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=queue_arn(client("sqs"), "of-alarms")
        )
        # Of a metric without data: whenever it is evaluated, that changes nothing.
        cloudwatch.put_metric_alarm(
            AlarmName="many",
            Namespace="shop",
            MetricName="returns",
            Statistic="Sum",
            Period=10,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
            AlarmActions=[topic],
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

    def work(self, client):
        cloudwatch = client("cloudwatch")
        cloudwatch.put_metric_data(
            Namespace="shop", MetricData=[{"MetricName": "returns", "Value": 9}]
        )
        # The alarm that was saved is evaluated every ten seconds, by itself.
        told = json.loads(json.loads(received(client("sqs"), "of-alarms", 60))["Message"])
        assert (told["AlarmName"], told["NewStateValue"]) == ("many", "ALARM")
        cloudwatch.delete_alarms(AlarmNames=["many"])


class Route53(Story):
    services = ("route53",)
    survives = "zones and records"

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

    def work(self, client):
        route53 = client("route53")
        (zone,) = route53.list_hosted_zones()["HostedZones"]
        record = {
            "Name": "www.example.com",
            "Type": "A",
            "TTL": 60,
            "ResourceRecords": [{"Value": "192.0.2.1"}],
        }
        route53.change_resource_record_sets(
            HostedZoneId=zone["Id"],
            ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]},
        )
        names = {it["Name"] for it in self.look(client)[1]}
        assert "www.example.com." in names


class Acm(Story):
    services = ("acm",)
    survives = "certificates"

    def fill(self, client):
        client("acm").request_certificate(DomainName="example.com")

    def look(self, client):
        acm = client("acm")
        arns = [
            summary["CertificateArn"]
            for summary in acm.list_certificates()["CertificateSummaryList"]
        ]
        return [arns, [acm.list_tags_for_certificate(CertificateArn=arn)["Tags"] for arn in arns]]

    def work(self, client):
        (arn,) = self.look(client)[0]
        client("acm").add_tags_to_certificate(CertificateArn=arn, Tags=[{"Key": "k", "Value": "v"}])
        assert self.look(client)[1] == [[{"Key": "k", "Value": "v"}]]
        client("acm").delete_certificate(CertificateArn=arn)
