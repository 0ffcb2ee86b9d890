#!/usr/bin/env bash
# moto 5.1.22, EC2 (PyPI: moto 5.1.22), and what LocalStack makes of it: its moto-ext does the same.
#
# The first subnet that CreateSubnet is given an AvailabilityZoneId for says DefaultForAz: true and
# MapPublicIpOnLaunch: true, though it lies in a network of one's own whose zone has a default subnet already. The
# same call with the AvailabilityZone's name says false to both, as AWS does. The next subnet by zone id says false,
# in whatever zone.
#
# Seen:
#   by name    us-east-1a  default False  public addresses False
#   by id      us-east-1b  default True   public addresses True
#   by id      us-east-1c  default False  public addresses False
#   default subnets of us-east-1b: 2
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'moto[ec2]==5.1.22'
AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any venv/bin/python - <<'PYTHON'
from importlib.metadata import version

import boto3
from moto import mock_aws

print("moto", version("moto"))
with mock_aws():
    ec2 = boto3.client("ec2", "us-east-1")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    zones = {zone["ZoneName"]: zone["ZoneId"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    seen = []
    for number, (how, zone) in enumerate((("name", "us-east-1a"), ("id", "us-east-1b"), ("id", "us-east-1c"))):
        place = {"AvailabilityZone": zone} if how == "name" else {"AvailabilityZoneId": zones[zone]}
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", **place)["Subnet"]
        assert subnet["AvailabilityZone"] == zone
        seen.append((subnet["DefaultForAz"], subnet["MapPublicIpOnLaunch"]))
        print(f"by {how:<6} {zone}  default {seen[-1][0]!s:<5}  public addresses {seen[-1][1]}")
    filters = [{"Name": "availability-zone", "Values": ["us-east-1b"]}, {"Name": "default-for-az", "Values": ["true"]}]
    defaults = ec2.describe_subnets(Filters=filters)["Subnets"]
    print("default subnets of us-east-1b:", len(defaults))
    assert seen == [(False, False), (True, True), (False, False)] and len(defaults) == 2
PYTHON
echo "as described"
