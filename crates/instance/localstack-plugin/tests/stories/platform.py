"""What runs or describes something else."""

import base64
import hashlib
import io
import json
import time
import urllib.request
import zipfile

from stories.story import Story, bare, queue_arn, received, until


class StepFunctions(Story):
    services = ("stepfunctions",)
    survives = "state machines, versions, history, runs that are done"
    ends = "runs under way: ABORTED, with a cause; their tokens are refused"

    def fill(self, client):
        sfn = client("stepfunctions")
        definition = {
            "StartAt": "A",
            "States": {"A": {"Type": "Pass", "Result": {"n": 1}, "End": True}},
        }
        role = "arn:aws:iam::000000000000:role/any"
        machine = sfn.create_state_machine(
            name="m", definition=json.dumps(definition), roleArn=role
        )
        run = sfn.start_execution(stateMachineArn=machine["stateMachineArn"], name="one")[
            "executionArn"
        ]
        while sfn.describe_execution(executionArn=run)["status"] == "RUNNING":
            time.sleep(0.1)

    def look(self, client):
        sfn = client("stepfunctions")
        (machine,) = sfn.list_state_machines()["stateMachines"]
        runs = sfn.list_executions(stateMachineArn=machine["stateMachineArn"])["executions"]
        one = next(run for run in runs if run["name"] == "one")["executionArn"]
        return [
            machine,
            bare(sfn.describe_execution(executionArn=one)),
            sfn.get_execution_history(executionArn=one)["events"],
        ]

    def work(self, client):
        sfn = client("stepfunctions")
        machine = sfn.list_state_machines()["stateMachines"][0]["stateMachineArn"]
        run = sfn.start_execution(stateMachineArn=machine, name="two")["executionArn"]
        while (found := sfn.describe_execution(executionArn=run))["status"] == "RUNNING":
            time.sleep(0.1)
        assert json.loads(found["output"]) == {"n": 1}


class CloudFormation(Story):
    services = ("cloudformation", "s3", "sqs")
    survives = "stacks, change sets; they can be updated and deleted"
    ends = "deployments under way: FAILED, with a reason"

    def fill(self, client):
        template = {
            "Resources": {
                "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "of-stack"}},
                "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "of-stack"}},
            },
            "Outputs": {"Url": {"Value": {"Ref": "Queue"}}},
        }
        cloudformation = client("cloudformation")
        cloudformation.create_stack(StackName="shop", TemplateBody=json.dumps(template))
        cloudformation.get_waiter("stack_create_complete").wait(
            StackName="shop", WaiterConfig={"Delay": 1}
        )

    def look(self, client):
        cloudformation = client("cloudformation")
        return [
            cloudformation.describe_stacks(StackName="shop")["Stacks"],
            cloudformation.list_stack_resources(StackName="shop")["StackResourceSummaries"],
        ]

    def work(self, client):
        cloudformation = client("cloudformation")
        cloudformation.delete_stack(StackName="shop")
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName="shop", WaiterConfig={"Delay": 1}
        )
        left = {bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]}
        assert "of-stack" not in left


class ApiGateway(Story):
    services = ("apigateway",)
    survives = "APIs and stages; they answer"

    def fill(self, client):
        api = client("apigateway")
        made = api.create_rest_api(name="shop")["id"]
        root = api.get_resources(restApiId=made)["items"][0]["id"]
        child = api.create_resource(restApiId=made, parentId=root, pathPart="orders")["id"]
        where = {"restApiId": made, "resourceId": child, "httpMethod": "GET"}
        api.put_method(**where, authorizationType="NONE")
        api.put_method_response(**where, statusCode="200")
        api.put_integration(
            **where, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
        )
        api.put_integration_response(
            **where, statusCode="200", responseTemplates={"application/json": '{"n": 1}'}
        )
        api.create_deployment(restApiId=made, stageName="dev")

    def look(self, client):
        api = client("apigateway")
        (made,) = api.get_rest_apis()["items"]
        return [
            made,
            api.get_resources(restApiId=made["id"])["items"],
            api.get_stages(restApiId=made["id"])["item"],
        ]

    def work(self, client):
        api = client("apigateway")
        made = api.get_rest_apis()["items"][0]["id"]
        url = f"{api.meta.endpoint_url}/_aws/execute-api/{made}/dev/orders"
        with urllib.request.urlopen(url) as response:
            assert json.load(response) == {"n": 1}


PROGRAM = """
import os
def handler(event, context):
    return event | {"A": os.environ["A"]}
"""


class Lambda(Story):
    services = ("lambda", "iam", "s3", "sqs")
    survives = "functions, versions, mappings, destinations; they are invoked, polled and told"
    ends = "asynchronous invocations that wait; readers of streams begin at their starting position"
    refused = (
        "a mapping whose queue was gone at the save, or isn't loaded with it, is loaded, told as "
        "an error, and waits for the queue; a state that lost the queue later is refused whole"
    )
    # Revision and instance of the function, and the credentials that it is started with.
    renewed = frozenset(
        {
            "api_states/lambda/store/lambda/accounts/000000000000/regions/us-east-1.state",
            "api_states/iam/backend/iam/accounts/000000000000/regions/aws.state",
            "api_states/sts/backend/sts/accounts/000000000000/regions/aws.state",
            "api_states/sts/store/sts/universal.state",
        }
    )

    def fill(self, client):
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr(zipfile.ZipInfo("main.py"), PROGRAM)
        client("lambda").create_function(
            FunctionName="worker",
            Runtime="python3.12",
            Handler="main.handler",
            Role="arn:aws:iam::000000000000:role/worker",
            Code={"ZipFile": code.getvalue()},
            Environment={"Variables": {"A": "b"}},
        )
        client("lambda").get_waiter("function_active_v2").wait(
            FunctionName="worker", WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
        )
        client("lambda").create_event_source_mapping(
            EventSourceArn=queue_arn(client("sqs"), "to-worker"), FunctionName="worker"
        )
        done = queue_arn(client("sqs"), "from-worker")
        client("lambda").put_function_event_invoke_config(
            FunctionName="worker", DestinationConfig={"OnSuccess": {"Destination": done}}
        )

    def look(self, client):
        found = client("lambda").get_function(FunctionName="worker")
        # Each instance makes a new revision.
        own = ("LastUpdateStatus", "RevisionId")
        config = client("lambda").get_function_event_invoke_config(FunctionName="worker")
        return [
            {k: v for k, v in found["Configuration"].items() if k not in own},
            found.get("Tags"),
            config["DestinationConfig"],
        ]

    def work(self, client):
        found = client("lambda").get_function(FunctionName="worker")
        with urllib.request.urlopen(
            found["Code"]["Location"].replace("localhost.localstack.cloud", "127.0.0.1")
        ) as code:
            digest = hashlib.sha256(code.read()).digest()
        assert base64.b64encode(digest).decode() == found["Configuration"]["CodeSha256"]
        invoke = client("lambda").invoke
        answer = invoke(FunctionName="worker", Payload=b'{"n": 1}')
        assert "FunctionError" not in answer and json.load(answer["Payload"]) == {"n": 1, "A": "b"}
        invoke(FunctionName="worker", Payload=b'{"n": 2}', InvocationType="Event")
        told = json.loads(received(client("sqs"), "from-worker", 30))
        assert told["responsePayload"] == {"n": 2, "A": "b"}
        self._is_polled(client("sqs"))

    def _is_polled(self, sqs):
        url = sqs.get_queue_url(QueueName="to-worker")["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="for the function")

        def is_empty():
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            held = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
            return set(held.values()) == {"0"}

        # Deleted by the poller, once the function has answered.
        until(is_empty, 30)


class Ec2(Story):
    services = ("ec2",)
    survives = "networks, groups, instances as records"

    def fill(self, client):
        ec2 = client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.1.0/24")
        ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)

    def look(self, client):
        ec2 = client("ec2")
        return [
            ec2.describe_vpcs()["Vpcs"],
            ec2.describe_subnets()["Subnets"],
            ec2.describe_security_groups()["SecurityGroups"],
        ]

    def work(self, client):
        ec2 = client("ec2")
        vpc = next(v for v in ec2.describe_vpcs()["Vpcs"] if v["CidrBlock"] == "10.1.0.0/16")[
            "VpcId"
        ]
        ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.2.0/24")


class Sts(Story):
    services = ("sts", "iam")
    survives = "sessions"

    def fill(self, client):
        client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
        client("sts").assume_role(
            RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="session"
        )

    def look(self, client):
        return client("iam").get_role(RoleName="r")["Role"]

    def work(self, client):
        session = client("sts").assume_role(
            RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="another"
        )
        assert session["Credentials"]["SessionToken"]
