"""Make job-server.jar in a folder of jars: what Beam's FlinkRunner starts, in place of one jar that holds them all.

It is a manifest and nothing else: the jars beside it in sorted order, the main class, and what Java 17 must open.
"""

import sys
import zipfile
from pathlib import Path

MAIN = "org.apache.beam.runners.flink.FlinkJobServerDriver"
OPENS = ("lang", "lang.reflect", "net", "nio", "util", "util.concurrent")


def manifest(jars: list[str]) -> str:
    """Return the text of the manifest; a line has 72 bytes at most, and the next goes on after a space."""
    values = {
        "Manifest-Version": "1.0",
        "Main-Class": MAIN,
        "Add-Opens": " ".join(f"java.base/java.{name}" for name in OPENS),
        "Class-Path": " ".join(jars),
    }
    lines = []
    for name, value in values.items():
        line = f"{name}: {value}"
        lines.append(line[:70])
        lines += [f" {line[start : start + 69]}" for start in range(70, len(line), 69)]
    return "\r\n".join([*lines, ""])


def main(folder: Path) -> None:
    """Write the jar."""
    jars = sorted(path.name for path in folder.glob("*.jar") if path.name != "job-server.jar")
    with zipfile.ZipFile(folder / "job-server.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest(jars))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
