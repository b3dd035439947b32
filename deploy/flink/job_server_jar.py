"""Make one jar of Beam's Flink runner and all that it needs, as Beam publishes it.

Usage: job_server_jar.py FOLDER_OF_JARS JAR. One, since Beam uploads what its job server is made of with each job, and
160 jars take 20 seconds. Of a file that several jars have the first counts, in the order of the jars' names; lists of
services are joined.
"""

import sys
import zipfile
from pathlib import Path

MAIN = "org.apache.beam.runners.flink.FlinkJobServerDriver"
OPENS = ("lang", "lang.reflect", "net", "nio", "util", "util.concurrent")  # what Java 17 must open to it


def manifest() -> str:
    """Return the text of the manifest; a line has 72 bytes at most, and the next goes on after a space."""
    opens = "\r\n  ".join(f"java.base/java.{name}" for name in OPENS)
    return f"Manifest-Version: 1.0\r\nMain-Class: {MAIN}\r\nMulti-Release: true\r\nAdd-Opens: {opens}\r\n"


def main(folder: Path, made: Path) -> None:
    """Write the jar."""
    services: dict[str, list[bytes]] = {}
    seen = {"META-INF/MANIFEST.MF"}
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest())
        for path in sorted(folder.glob("*.jar")):
            with zipfile.ZipFile(path) as part:
                for name in part.namelist():
                    if name.endswith(("/", ".SF", ".RSA", ".DSA")):  # signatures are of the jar that they came in
                        continue
                    if name.startswith("META-INF/services/"):
                        services.setdefault(name, []).append(part.read(name))
                    elif name not in seen:
                        seen.add(name)
                        jar.writestr(name, part.read(name))
        for name, texts in services.items():
            jar.writestr(name, b"\n".join(texts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
