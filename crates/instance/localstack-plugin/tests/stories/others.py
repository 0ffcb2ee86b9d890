"""Services of which there is less to tell: most are moto's."""

import json
import re

from stories.story import Story, queue_arn, received, until


class Config(Story):
    services = ("config",)
    survives = "recorders, channels, rules"

    def fill(self, client):
        client("config").put_configuration_recorder(
            ConfigurationRecorder={"name": "r", "roleARN": "arn:aws:iam::000000000000:role/r"}
        )

    def look(self, client):
        return client("config").describe_configuration_recorders()["ConfigurationRecorders"]

    def work(self, client):
        client("config").delete_configuration_recorder(ConfigurationRecorderName="r")
        assert self.look(client) == []


class DynamoDbStreams(Story):
    services = ("dynamodbstreams", "dynamodb")
    survives = "nothing of its own: streams are settings of tables"
    refused = "with DynamoDB on moto there are none to read"

    def fill(self, client):
        client("dynamodbstreams").list_streams()

    def look(self, client):
        return client("dynamodbstreams").list_streams()["Streams"]


class Search(Story):
    services = ("opensearch",)
    survives = "domains; their clusters start anew"
    refused = "documents aren't saved, and each save says so"

    def fill(self, client):
        client("opensearch").create_domain(DomainName="search")

    def look(self, client):
        found = client("opensearch").describe_domain(DomainName="search")["DomainStatus"]
        return [found["ARN"], found["EngineVersion"]]

    def work(self, client):
        client("opensearch").add_tags(
            ARN=self.look(client)[0], TagList=[{"Key": "k", "Value": "v"}]
        )
        client("opensearch").delete_domain(DomainName="search")


class Elastic(Story):
    services = ("es", "opensearch")
    survives = "domains, which are OpenSearch's"
    refused = "as with OpenSearch"

    def fill(self, client):
        client("es").create_elasticsearch_domain(DomainName="elastic")

    def look(self, client):
        found = client("es").describe_elasticsearch_domain(DomainName="elastic")
        return found["DomainStatus"]["ARN"]

    def work(self, client):
        client("es").delete_elasticsearch_domain(DomainName="elastic")


class Firehose(Story):
    services = ("firehose", "s3")
    survives = "delivery streams, which deliver to S3; what reads a stream of Kinesis starts again"
    ends = "records of Kinesis that came between are read from where the program left off"

    def fill(self, client):
        s3 = client("s3")
        region = s3.meta.region_name
        where = {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=self._bucket(client), **({} if region == "us-east-1" else where))
        client("firehose").create_delivery_stream(
            DeliveryStreamName="orders",
            ExtendedS3DestinationConfiguration={
                "BucketARN": f"arn:aws:s3:::{self._bucket(client)}",
                "RoleARN": "arn:aws:iam::000000000000:role/r",
            },
        )

    def look(self, client):
        found = client("firehose").describe_delivery_stream(DeliveryStreamName="orders")
        return found["DeliveryStreamDescription"]

    def work(self, client):
        client("firehose").put_record(DeliveryStreamName="orders", Record={"Data": b"one"})
        s3, bucket = client("s3"), self._bucket(client)
        (entry,) = until(lambda: s3.list_objects_v2(Bucket=bucket).get("Contents"))
        assert s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() == b"one"

    def _bucket(self, client):
        return f"lake-{client('firehose').meta.region_name}"


class Timers(Story):
    """By itself, because its queue fills while others look."""

    services = ("events", "sqs")

    def fill(self, client):
        events = client("events")
        events.put_rule(Name="every-minute", ScheduleExpression="rate(1 minute)")
        # A timer for each call, of which LocalStack knows the last one only.
        for number in range(2):
            arn = queue_arn(client("sqs"), f"of-timer-{number}")
            events.put_targets(Rule="every-minute", Targets=[{"Id": f"{number}", "Arn": arn}])

    def look(self, client):
        return client("events").list_targets_by_rule(Rule="every-minute")["Targets"]

    def work(self, client):
        for number in range(2):
            event = json.loads(received(client("sqs"), f"of-timer-{number}", 90))
            assert event["detail-type"] == "Scheduled Event"


class Redshift(Story):
    services = ("redshift", "ec2")
    survives = "clusters, groups, snapshots"

    def fill(self, client):
        client("redshift").create_cluster(
            ClusterIdentifier="dw",
            NodeType="dc2.large",
            MasterUsername="a",
            MasterUserPassword="Passw0rdx",
        )

    def look(self, client):
        (cluster,) = client("redshift").describe_clusters()["Clusters"]
        return [cluster["ClusterIdentifier"], cluster["NodeType"], cluster["MasterUsername"]]

    def work(self, client):
        client("redshift").delete_cluster(ClusterIdentifier="dw", SkipFinalClusterSnapshot=True)
        assert client("redshift").describe_clusters()["Clusters"] == []


class ResourceGroups(Story):
    services = ("resource-groups",)
    survives = "groups, queries, tags"

    def fill(self, client):
        filters = [{"Key": "t", "Values": ["a"]}]
        query = {"ResourceTypeFilters": ["AWS::AllSupported"], "TagFilters": filters}
        client("resource-groups").create_group(
            Name="g", ResourceQuery={"Type": "TAG_FILTERS_1_0", "Query": json.dumps(query)}
        )

    def look(self, client):
        return client("resource-groups").get_group_query(GroupName="g")["GroupQuery"]

    def work(self, client):
        client("resource-groups").update_group(GroupName="g", Description="d")
        client("resource-groups").delete_group(GroupName="g")


class Tagging(Story):
    services = ("resourcegroupstaggingapi", "ec2")
    survives = "nothing of its own: it reads tags of other services"

    def fill(self, client):
        tags = [{"ResourceType": "vpc", "Tags": [{"Key": "seen", "Value": "a"}]}]
        client("ec2").create_vpc(CidrBlock="10.3.0.0/16", TagSpecifications=tags)

    def look(self, client):
        found = client("resourcegroupstaggingapi").get_resources(
            TagFilters=[{"Key": "seen", "Values": ["a"]}]
        )["ResourceTagMappingList"]
        assert len(found) == 1
        return found

    def work(self, client):
        self.look(client)


class Resolver(Story):
    services = ("route53resolver",)
    survives = "query log configurations, rules, endpoints, firewalls"

    def fill(self, client):
        client("route53resolver").create_resolver_query_log_config(
            Name="q", DestinationArn="arn:aws:s3:::lake", CreatorRequestId="1"
        )

    def look(self, client):
        return client("route53resolver").list_resolver_query_log_configs()[
            "ResolverQueryLogConfigs"
        ]

    def work(self, client):
        (config,) = self.look(client)
        client("route53resolver").delete_resolver_query_log_config(
            ResolverQueryLogConfigId=config["Id"]
        )


class S3Control(Story):
    services = ("s3control",)
    survives = "blocks of public access, access points"

    def fill(self, client):
        block = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy")
        self._control(client).put_public_access_block(
            AccountId=self._account(client),
            PublicAccessBlockConfiguration=dict.fromkeys(block, True)
            | {"RestrictPublicBuckets": False},
        )

    def look(self, client):
        return self._control(client).get_public_access_block(AccountId=self._account(client))[
            "PublicAccessBlockConfiguration"
        ]

    def work(self, client):
        self._control(client).delete_public_access_block(AccountId=self._account(client))

    def _account(self, client):
        return client("sts").get_caller_identity()["Account"]

    def _control(self, client):
        """Without the account before the host, where no name on this machine has it."""

        def bare_host(request, **_):
            request.url = re.sub(r"//\d{12}\.", "//", request.url)

        control = client("s3control")
        control.meta.events.register("before-send.s3-control", bare_host)
        return control


class Support(Story):
    services = ("support",)
    everywhere = False
    survives = "cases"

    def fill(self, client):
        self.case = client("support").create_case(subject="s", communicationBody="b")["caseId"]

    def look(self, client):
        cases = client("support").describe_cases(includeResolvedCases=True)["cases"]
        return [[case["caseId"], case["subject"]] for case in cases]

    def work(self, client):
        client("support").resolve_case(caseId=self.case)


class Swf(Story):
    services = ("swf",)
    survives = "domains, types, executions and their history"

    def fill(self, client):
        swf = client("swf")
        swf.register_domain(name="d", workflowExecutionRetentionPeriodInDays="1")
        swf.register_workflow_type(
            domain="d",
            name="w",
            version="1",
            defaultTaskList={"name": "l"},
            defaultChildPolicy="TERMINATE",
            defaultTaskStartToCloseTimeout="900",
            defaultExecutionStartToCloseTimeout="900",
        )
        self.run = swf.start_workflow_execution(
            domain="d", workflowId="one", workflowType={"name": "w", "version": "1"}
        )["runId"]

    def look(self, client):
        return client("swf").get_workflow_execution_history(
            domain="d", execution={"workflowId": "one", "runId": self.run}
        )["events"]

    def work(self, client):
        swf = client("swf")
        task = swf.poll_for_decision_task(domain="d", taskList={"name": "l"})
        done = {"decisionType": "CompleteWorkflowExecution"}
        swf.respond_decision_task_completed(taskToken=task["taskToken"], decisions=[done])
        assert self.look(client)[-1]["eventType"] == "WorkflowExecutionCompleted"


class Transcribe(Story):
    services = ("transcribe",)
    survives = "jobs that are done"
    ends = "jobs under way: FAILED"

    def fill(self, client):
        transcribe = client("transcribe")
        transcribe.start_transcription_job(
            TranscriptionJobName="j",
            LanguageCode="en-US",
            Media={"MediaFileUri": "s3://lake/missing.wav"},
        )
        until(lambda: self.look(client)[1] == "FAILED")

    def look(self, client):
        job = client("transcribe").get_transcription_job(TranscriptionJobName="j")
        job = job["TranscriptionJob"]
        return [job["Media"], job["TranscriptionJobStatus"], job.get("FailureReason")]

    def work(self, client):
        client("transcribe").delete_transcription_job(TranscriptionJobName="j")
