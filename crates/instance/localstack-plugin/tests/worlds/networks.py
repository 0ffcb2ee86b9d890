"""Networks, zones, clusters, and what is in them."""

import json
import random

from worlds.world import REGIONS, Client, few, of, some, word


@of("ec2")
def ec2(chance: random.Random, client: Client) -> None:
    networks = client("ec2")
    if chance.random() < 0.5:
        vpc = networks.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        networks.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")
        networks.create_security_group(GroupName="web", Description="d", VpcId=vpc)
        networks.create_route_table(VpcId=vpc)
        networks.create_network_acl(VpcId=vpc)
        networks.create_tags(Resources=[vpc], Tags=[{"Key": "team", "Value": word(chance)}])
    if chance.random() < 0.5:
        networks.create_key_pair(KeyName=word(chance))
        networks.create_internet_gateway()
        zone = f"{networks.meta.region_name}a"
        networks.create_volume(AvailabilityZone=zone, Size=1)
    # In the network that each instance makes for itself, by ids of its own.
    if chance.random() < 0.3:
        networks.create_security_group(GroupName="web", Description="d")
    if chance.random() < 0.3:
        networks.run_instances(ImageId="ami-any", MinCount=1, MaxCount=1)


@of("opensearch")
def opensearch(chance: random.Random, client: Client) -> None:
    for name in few(chance):
        client("opensearch").create_domain(DomainName=name)


@of("redshift")
def redshift(chance: random.Random, client: Client) -> None:
    for name in some(chance)[:2]:
        client("redshift").create_cluster(
            ClusterIdentifier=name,
            NodeType="ds2.xlarge",
            MasterUsername="u",
            MasterUserPassword="Passw0rd",
            DBName=word(chance),
        )
        client("redshift").create_cluster_snapshot(
            SnapshotIdentifier=f"of-{name}", ClusterIdentifier=name
        )
    for name in few(chance):
        client("redshift").create_cluster_parameter_group(
            ParameterGroupName=name, ParameterGroupFamily="redshift-1.0", Description=word(chance)
        )
        client("redshift").create_cluster_security_group(
            ClusterSecurityGroupName=name, Description=word(chance)
        )
        subnets = client("ec2").describe_subnets()["Subnets"]
        client("redshift").create_cluster_subnet_group(
            ClusterSubnetGroupName=name,
            Description=word(chance),
            SubnetIds=[subnets[0]["SubnetId"]],
        )


@of("resource-groups")
def resource_groups(chance: random.Random, client: Client) -> None:
    query = {
        "ResourceTypeFilters": ["AWS::AllSupported"],
        "TagFilters": [{"Key": "team", "Values": ["a"]}],
    }
    for name in some(chance):
        client("resource-groups").create_group(
            Name=name,
            Description=word(chance),
            ResourceQuery={"Type": "TAG_FILTERS_1_0", "Query": json.dumps(query)},
        )


@of("route53")
def route53(chance: random.Random, client: Client) -> None:
    zones = client("route53")
    if zones.meta.region_name != REGIONS[0]:
        return
    for name in some(chance):
        zone = zones.create_hosted_zone(Name=f"{name}.example", CallerReference=name)
        for record in some(chance):
            change = {
                "Action": "CREATE",
                "ResourceRecordSet": {
                    "Name": f"{record}.{name}.example",
                    "Type": "A",
                    "TTL": 60,
                    "ResourceRecords": [{"Value": "192.0.2.1"}],
                },
            }
            zones.change_resource_record_sets(
                HostedZoneId=zone["HostedZone"]["Id"], ChangeBatch={"Changes": [change]}
            )
    for name in few(chance):
        zones.create_health_check(
            CallerReference=name,
            HealthCheckConfig={"Type": "HTTP", "IPAddress": "192.0.2.1", "Port": 80},
        )


@of("route53resolver")
def route53resolver(chance: random.Random, client: Client) -> None:
    for name in some(chance):
        client("route53resolver").create_resolver_rule(
            CreatorRequestId=name, RuleType="SYSTEM", DomainName=f"{name}.example", Name=name
        )
    for name in few(chance):
        ec2 = client("ec2")
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"][:2]]
        group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        client("route53resolver").create_resolver_endpoint(
            CreatorRequestId=f"endpoint-{name}",
            Name=name,
            SecurityGroupIds=[group],
            Direction="INBOUND",
            IpAddresses=[{"SubnetId": subnet} for subnet in subnets],
        )
