"""What a merge keeps of both sides, and that what is kept still works."""

import json
import time

import pytest
from stories.story import queue_arn, received

MINE, THEIRS = "mine", "theirs"


@pytest.fixture
def both(source, target):
    """Fills both sides, and merges the source's state into the target."""
    source.reset()
    target.reset()

    def merge(fill, services, strategy="service-merge"):
        fill(source.client, THEIRS)
        fill(target.client, MINE)
        target.load(source.save(services), strategy)
        return target.client

    return merge


def test_the_default_bus_keeps_the_rules_of_both(both):
    def fill(client, side):
        events = client("events")
        for rule in (side, "both"):
            pattern = json.dumps({"source": [side]})
            events.put_rule(Name=rule, EventPattern=pattern)
            events.put_targets(
                Rule=rule, Targets=[{"Id": "q", "Arn": queue_arn(client("sqs"), f"of-{side}")}]
            )

    client = both(fill, "events,sqs")
    rules = {rule["Name"]: rule for rule in client("events").list_rules()["Rules"]}
    assert rules.keys() == {MINE, THEIRS, "both"}
    assert json.loads(rules["both"]["EventPattern"]) == {"source": [THEIRS]}
    for side in (MINE, THEIRS):
        entry = {"Source": side, "DetailType": "order", "Detail": "{}"}
        client("events").put_events(Entries=[entry])
        assert json.loads(received(client("sqs"), f"of-{side}"))["source"] == side


def test_the_default_schedule_group_keeps_the_schedules_of_both(both):
    def fill(client, side):
        for name in (side, "both"):
            client("scheduler").create_schedule(
                Name=name,
                Description=side,
                ScheduleExpression="rate(1 day)",
                FlexibleTimeWindow={"Mode": "OFF"},
                Target={
                    "Arn": "arn:aws:sqs:us-east-1:000000000000:q",
                    "RoleArn": "arn:aws:iam::000000000000:role/r",
                },
            )

    client = both(fill, "scheduler")
    listed = client("scheduler").list_schedules()["Schedules"]
    assert {schedule["Name"] for schedule in listed} == {MINE, THEIRS, "both"}
    assert client("scheduler").get_schedule(Name="both")["Description"] == THEIRS


@pytest.mark.parametrize("strategy", ["service-merge", "account-region-merge", "overwrite"])
def test_services_that_hold_another_backend_are_loaded(both, strategy):
    def fill(client, side):
        client("redshift").create_cluster(
            ClusterIdentifier=side, NodeType="n", MasterUsername="u", MasterUserPassword="Passw0rd"
        )
        client("route53resolver").create_resolver_rule(
            CreatorRequestId=side, RuleType="SYSTEM", DomainName=f"{side}.example", Name=side
        )

    client = both(fill, "redshift,route53resolver", strategy)
    kept = {MINE, THEIRS} if strategy == "service-merge" else {THEIRS}
    clusters = client("redshift").describe_clusters()["Clusters"]
    assert {cluster["ClusterIdentifier"] for cluster in clusters} == kept
    rules = client("route53resolver").list_resolver_rules()["ResolverRules"]
    assert {rule["Name"] for rule in rules} == kept
    # A tag goes through a map of maps, whose parts must be those that are listed.
    arn = "arn:aws:redshift:us-east-1:000000000000:cluster:theirs"
    client("redshift").create_tags(ResourceName=arn, Tags=[{"Key": "a", "Value": "b"}])


def test_a_subscription_that_is_listed_gets_messages(both):
    def fill(client, side):
        topic = client("sns").create_topic(Name="orders")["TopicArn"]
        for queue in (side, "shared"):
            client("sns").subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=queue_arn(client("sqs"), queue),
                Attributes={"RawMessageDelivery": "true"},
            )

    client = both(fill, "sns,sqs")
    listed = client("sns").list_subscriptions()["Subscriptions"]
    assert sorted(one["Endpoint"].rsplit(":", 1)[1] for one in listed) == [MINE, "shared", THEIRS]
    topic = listed[0]["TopicArn"]
    assert len(client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]) == 3
    client("sns").publish(TopicArn=topic, Message="order")
    for queue in (MINE, "shared", THEIRS):
        assert received(client("sqs"), queue) == "order"
    url = client("sqs").get_queue_url(QueueName="shared")["QueueUrl"]
    assert not client("sqs").receive_message(QueueUrl=url).get("Messages"), "delivered twice"


def test_log_groups_keep_the_streams_of_both(both):
    def fill(client, side):
        client("logs").create_log_group(logGroupName="app")
        for stream in (side, "both"):
            client("logs").create_log_stream(logGroupName="app", logStreamName=stream)
            client("logs").put_log_events(
                logGroupName="app",
                logStreamName=stream,
                logEvents=[{"timestamp": int(time.time() * 1000), "message": side}],
            )

    client = both(fill, "logs")
    assert len(client("logs").describe_log_groups()["logGroups"]) == 1
    streams = client("logs").describe_log_streams(logGroupName="app")["logStreams"]
    assert {stream["logStreamName"] for stream in streams} == {MINE, THEIRS, "both"}
    for stream, said in ((MINE, MINE), (THEIRS, THEIRS), ("both", THEIRS)):
        events = client("logs").get_log_events(logGroupName="app", logStreamName=stream)["events"]
        assert [event["message"] for event in events] == [said]
    client("logs").put_retention_policy(logGroupName="app", retentionInDays=7)
    client("logs").delete_log_stream(logGroupName="app", logStreamName=MINE)


def test_groups_keep_the_members_of_both_and_what_is_attached_is_counted(both):
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})

    def fill(client, side):
        iam = client("iam")
        policy = iam.create_policy(PolicyName="p", PolicyDocument=document)["Policy"]["Arn"]
        for group in ("both", f"of-{side}"):
            iam.create_group(GroupName=group)
        for user in (side, "shared"):
            iam.create_user(UserName=user, Tags=[{"Key": side, "Value": side}])
            iam.create_access_key(UserName=user)
            for group in ("both", f"of-{side}"):
                iam.add_user_to_group(GroupName=group, UserName=user)
            iam.attach_user_policy(UserName=user, PolicyArn=policy)

    client = both(fill, "iam")
    iam = client("iam")
    members = {
        group: {user["UserName"] for user in iam.get_group(GroupName=group)["Users"]}
        for group in ("both", "of-mine", "of-theirs")
    }
    assert members == {
        "both": {MINE, THEIRS, "shared"},
        "of-mine": {MINE, "shared"},
        "of-theirs": {THEIRS, "shared"},
    }
    tags = iam.list_user_tags(UserName="shared")["Tags"]
    assert tags == [{"Key": THEIRS, "Value": THEIRS}], "tags go with the user"
    arn = "arn:aws:iam::000000000000:policy/p"
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 3
    # One user, also in the group that only this side has.
    iam.update_user(UserName="shared", NewUserName="renamed")
    groups = iam.list_groups_for_user(UserName="renamed")["Groups"]
    assert {group["GroupName"] for group in groups} == {"both", "of-mine", "of-theirs"}
    assert {user["UserName"] for user in iam.get_group(GroupName="of-mine")["Users"]} == {
        MINE,
        "renamed",
    }


def test_zones_keep_the_records_of_both(both, source, target):
    def record(name):
        return {
            "Action": "CREATE",
            "ResourceRecordSet": {
                "Name": f"{name}.example",
                "Type": "A",
                "TTL": 60,
                "ResourceRecords": [{"Value": "192.0.2.1"}],
            },
        }

    zone = source.client("route53").create_hosted_zone(Name="example", CallerReference="r")
    zone = zone["HostedZone"]["Id"]
    target.load(source.save("route53"), "service-merge")

    def fill(client, side):
        client("route53").change_resource_record_sets(
            HostedZoneId=zone, ChangeBatch={"Changes": [record(side)]}
        )

    client = both(fill, "route53")
    (only,) = client("route53").list_hosted_zones()["HostedZones"]
    found = client("route53").list_resource_record_sets(HostedZoneId=only["Id"])
    names = [record["Name"] for record in found["ResourceRecordSets"] if record["Type"] == "A"]
    assert sorted(names) == ["mine.example.", "theirs.example."]


def test_apis_keep_the_resources_of_both(both, source, target):
    api = source.client("apigateway").create_rest_api(name="shop")["id"]
    target.load(source.save("apigateway"), "service-merge")

    def fill(client, side):
        gateway = client("apigateway")
        (root,) = gateway.get_resources(restApiId=api)["items"]
        part = gateway.create_resource(restApiId=api, parentId=root["id"], pathPart=side)["id"]
        which = {"restApiId": api, "resourceId": part, "httpMethod": "GET"}
        gateway.put_method(**which, authorizationType="NONE")
        gateway.put_integration(**which, type="MOCK")
        gateway.create_deployment(restApiId=api, stageName=side)

    client = both(fill, "apigateway")
    found = client("apigateway").get_resources(restApiId=api)["items"]
    assert {resource["path"] for resource in found} == {"/", "/mine", "/theirs"}
    stages = client("apigateway").get_stages(restApiId=api)["item"]
    assert {stage["stageName"] for stage in stages} == {MINE, THEIRS}
    client("apigateway").delete_resource(
        restApiId=api, resourceId=next(it["id"] for it in found if it["path"] == "/mine")
    )


def test_resource_groups_are_kept_of_both(both):
    query = {
        "ResourceTypeFilters": ["AWS::AllSupported"],
        "TagFilters": [{"Key": "team", "Values": ["a"]}],
    }

    def fill(client, side):
        for name in (side, "both"):
            client("resource-groups").create_group(
                Name=name,
                Description=side,
                ResourceQuery={"Type": "TAG_FILTERS_1_0", "Query": json.dumps(query)},
            )

    client = both(fill, "resource-groups")
    groups = client("resource-groups").list_groups()["GroupIdentifiers"]
    assert {group["GroupName"] for group in groups} == {MINE, THEIRS, "both"}
    found = client("resource-groups").get_group(GroupName="both")["Group"]
    assert found["Description"] == THEIRS


def test_tags_go_with_the_resource_that_they_are_about(both):
    def fill(client, side):
        for region in ("us-east-1", "eu-central-1") if side == MINE else ("us-east-1",):
            for name in (side, "both"):
                client("sns", region=region).create_topic(
                    Name=name, Tags=[{"Key": side, "Value": region}]
                )

    client = both(fill, "sns", "account-region-merge")

    def tags(region, name):
        arn = f"arn:aws:sns:{region}:000000000000:{name}"
        return client("sns", region=region).list_tags_for_resource(ResourceArn=arn)["Tags"]

    assert tags("us-east-1", "both") == [{"Key": THEIRS, "Value": "us-east-1"}]
    assert tags("us-east-1", THEIRS) == [{"Key": THEIRS, "Value": "us-east-1"}]
    # Another region's topic stays, and so does what the account keeps about it.
    assert tags("eu-central-1", "both") == [{"Key": MINE, "Value": "eu-central-1"}]


def test_a_bucket_has_the_owner_that_the_state_says(both):
    def fill(client, side):
        account = "000000000000" if side == MINE else "111122223333"
        client("s3", account).create_bucket(Bucket="both")
        client("s3", account).put_object(Bucket="both", Key="k", Body=side.encode())
        client("s3", account).create_bucket(Bucket=side)

    client = both(fill, "s3")
    listed = {
        account: {bucket["Name"] for bucket in client("s3", account).list_buckets()["Buckets"]}
        for account in ("000000000000", "111122223333")
    }
    assert listed == {"000000000000": {MINE}, "111122223333": {"both", THEIRS}}
    found = client("s3", "111122223333").get_object(Bucket="both", Key="k")["Body"].read()
    assert found == THEIRS.encode()


# ---------------------------------------------------------------- what each instance has anyway


def defaults(client):
    ec2 = client("ec2")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    return vpc["VpcId"]


def network(client, vpc):
    """How much there is of each part of a network."""
    ec2, of = client("ec2"), [{"Name": "vpc-id", "Values": [vpc]}]
    return [
        len(ec2.describe_vpcs(Filters=of)["Vpcs"]),
        len(ec2.describe_subnets(Filters=of)["Subnets"]),
        len(ec2.describe_security_groups(Filters=of)["SecurityGroups"]),
        len(ec2.describe_route_tables(Filters=of)["RouteTables"]),
        len(ec2.describe_network_acls(Filters=of)["NetworkAcls"]),
    ]


def counted(client):
    ec2 = client("ec2")
    return [
        len(ec2.describe_snapshots()["Snapshots"]),
        len(ec2.describe_managed_prefix_lists()["PrefixLists"]),
    ]


def test_two_instances_that_made_a_network_each_have_one_after_a_merge(source, target):
    source.reset()
    target.reset()
    theirs, mine = defaults(source.client), defaults(target.client)
    before, all_of_it = counted(target.client), network(target.client, mine)
    state = source.save("ec2")
    for _ in range(2):
        target.load(state, "service-merge")
        assert defaults(target.client) == theirs != mine
        assert network(target.client, theirs) == all_of_it
        assert network(target.client, mine) == [0] * 5
        assert counted(target.client) == before
    # What is started without a word about where is in the one that there is.
    (instance,) = target.client("ec2").run_instances(ImageId="ami-any", MinCount=1, MaxCount=1)[
        "Instances"
    ]
    assert instance["VpcId"] == theirs


def group_in_default_network(client):
    client("ec2").create_security_group(GroupName="web", Description="d")


def instance_in_default_network(client):
    client("ec2").run_instances(ImageId="ami-any", MinCount=1, MaxCount=1)


def cluster_in_default_network(client):
    client("redshift").create_cluster_subnet_group(
        ClusterSubnetGroupName="g",
        Description="d",
        SubnetIds=[client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]],
    )


def subnet_in_default_network(client):
    ec2 = client("ec2")
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneId"]
    vpc = defaults(client)
    ec2.create_subnet(VpcId=vpc, CidrBlock="172.31.200.0/24", AvailabilityZoneId=zone)


@pytest.mark.parametrize(
    "name",
    [
        *(group_in_default_network, instance_in_default_network, cluster_in_default_network),
        subnet_in_default_network,
    ],
)
def test_a_default_network_that_something_needs_stays_as_one_of_many(source, target, name):
    source.reset()
    target.reset()
    theirs, mine = defaults(source.client), defaults(target.client)
    name(target.client)
    all_of_it = network(target.client, mine)
    target.load(source.save("ec2"), "service-merge")
    assert defaults(target.client) == theirs
    assert network(target.client, mine) == all_of_it
    ec2 = target.client("ec2")
    subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
    assert {subnet["VpcId"] for subnet in subnets["Subnets"]} == {theirs}
    for reservation in ec2.describe_instances()["Reservations"]:
        (found,) = reservation["Instances"]
        assert found["VpcId"] == mine
        ec2.terminate_instances(InstanceIds=[found["InstanceId"]])
