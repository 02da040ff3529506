"""Every source file that the component "programs" installs, as the Dockerfile does, is in the build context (.dockerignore).

    docker_context_test.py SOURCE_FOLDER BUILD_FOLDER
"""
import pathlib
import re
import sys


def installed_sources(source: pathlib.Path, build: pathlib.Path):
    for script in build.rglob("cmake_install.cmake"):
        for block in re.split(r"^endif\(\)$", script.read_text(encoding="utf-8"), flags=re.M):
            if 'CMAKE_INSTALL_COMPONENT STREQUAL "programs"' in block:
                for path in re.findall(r'FILES "([^"]+)"', block):
                    path = pathlib.Path(path)
                    if path.is_relative_to(source) and not path.is_relative_to(build):
                        yield path.relative_to(source)


def main() -> int:
    source, build = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
    rules = (source / ".dockerignore").read_text(encoding="utf-8").split()
    assert rules[0] == "*", "everything is ignored but what is named"
    kept = [pathlib.Path(rule[1:]) for rule in rules if rule.startswith("!")]
    found = sorted(set(installed_sources(source, build)))
    missing = [path for path in found if not any(path.is_relative_to(rule) for rule in kept)]
    for path in missing:
        print(f"{path}: installed into the image, but not in its build context: add it to .dockerignore with a '!'")
    print(f"{len(found) - len(missing)} passed, {len(missing)} failed")
    return 1 if missing or not found else 0


if __name__ == "__main__":
    sys.exit(main())
