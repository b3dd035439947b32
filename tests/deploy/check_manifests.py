"""Print what is wrong with Kubernetes manifests, by the schemas of Kubernetes and of a custom resource.

Usage: check_manifests.py CRD_JAR FILE..., with an interpreter that has kubernetes-validate.
"""

import sys
import zipfile

import jsonschema
import kubernetes_validate
import yaml

KUBERNETES = "1.34"
CRD = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"


def closed(schema):
    """Return a schema that refuses fields it does not name: a server would drop them without a word."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def deployment_schema(jar):
    """Return the schema of a FlinkDeployment, as the operator's jar has it."""
    with zipfile.ZipFile(jar) as archive:
        crd = yaml.safe_load(archive.read(CRD))
    (version,) = (each for each in crd["spec"]["versions"] if each["name"] == "v1beta1")
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"].update(apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"})
    return schema


def main(jar, *paths):
    """Check every document of the files."""
    for path in paths:
        with open(path) as file:
            for document in yaml.safe_load_all(file):
                try:
                    if document["kind"] == "FlinkDeployment":
                        jsonschema.validate(document, deployment_schema(jar))
                    else:
                        kubernetes_validate.validate(document, KUBERNETES, strict=True)
                except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
                    where = ".".join(map(str, error.path))
                    print(f"{path}: {document['kind']} {document['metadata']['name']}: {where}: {error.message}")


if __name__ == "__main__":
    main(*sys.argv[1:])
