#!/usr/bin/env python3
"""Recipes in cluster/ whose tools a machine may lack, read as far as the standard library can: syntax, the keys that must be
there, stages of images, versions, and that what they run of a checkout exists. Usage: recipes.py SOURCE"""
import ast
import glob
import os
import re
import subprocess
import sys

source = sys.argv[1]
wrong = []
version = re.search(r"project\(fmtrain VERSION (\S+)", open(f"{source}/CMakeLists.txt").read()).group(1)
presets = re.findall(r'"configurePreset": "([^"]+)"', open(f"{source}/CMakePresets.json").read())


def check(holds, text):
    if not holds:
        wrong.append(text)


def tree(path):
    return ast.parse(open(path).read(), path)


def literal(node, names):
    """The value of a literal in which names of earlier values, and sums of strings, may occur."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, (ast.Tuple, ast.List)):
        return [literal(e, names) for e in node.elts]
    if isinstance(node, ast.Dict):
        return {literal(k, names): literal(v, names) for k, v in zip(node.keys, node.values)}
    return ast.literal_eval(node)


def easyconfig(path):
    values = {}
    for line in tree(path).body:
        if isinstance(line, ast.Assign):
            values[line.targets[0].id] = literal(line.value, values)
        elif isinstance(line, ast.AugAssign):
            values[line.target.id] += literal(line.value, values)
        else:
            check(False, f"{path}:{line.lineno}: not an assignment")
    for key in ("easyblock", "name", "version", "homepage", "description", "toolchain", "sources", "sanity_check_paths",
                "moduleclass"):
        check(values.get(key), f"{path}: no {key}")
    chain = values["toolchain"]
    name = f"{values['name']}-{values['version']}-{chain['name']}-{chain['version']}{values.get('versionsuffix', '')}.eb"
    check(os.path.basename(path) == name, f"{path}: EasyBuild looks for {name}")
    check(values["version"] == version, f"{path}: version {values['version']} of {version}")
    for dependency in values["dependencies"] + values["builddependencies"]:
        check(2 <= len(dependency) <= 4, f"{path}: {dependency}: not (name, version, suffix, toolchain)")
    check({"PyTorch", "HDF5", "yaml-cpp"} <= {d[0] for d in values["dependencies"]}, f"{path}: dependencies are missing")


def spack(path):
    (package,) = [n for n in tree(path).body if isinstance(n, ast.ClassDef)]
    bases = [base.id for base in package.bases]
    check(package.name == "Fmtrain" and bases == ["CMakePackage"], f"{path}: class Fmtrain(CMakePackage) is expected")
    directives = [n.value for n in package.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    calls = [(call.func.id, call.args[0].value) for call in directives]
    check(("version", version) in calls, f"{path}: no version {version}")
    for needed in ("mpi", "hdf5@1.10:1.14~mpi+threadsafe", "yaml-cpp", "py-torch@2.11", "nccl"):
        check(any(f == "depends_on" and a.startswith(needed) for f, a in calls), f"{path}: does not depend on {needed}")
    check(any(isinstance(n, ast.FunctionDef) and n.name == "cmake_args" for n in package.body), f"{path}: no cmake_args")


def reframe(path):
    classes = {n.name: n for n in tree(path).body if isinstance(n, ast.ClassDef)}
    tests = [n for n in classes.values() if n.decorator_list]
    check(sorted(n.name for n in tests) == ["Bandwidth", "Build", "Invariance", "TwoRanks"], f"{path}: four tests are expected")
    for test in tests:
        names = {d.id for f in test.body if isinstance(f, ast.FunctionDef) for d in f.decorator_list if isinstance(d, ast.Name)}
        check("sanity_function" in names, f"{path}: {test.name} has no sanity function")


def commands(path, text):
    """That a shell script runs files of the checkout that are there, and presets."""
    parsed = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True)
    check(parsed.returncode == 0, f"{path}: {parsed.stderr}")
    for script in re.findall(r"\b(?:launch|cluster)/[\w/.-]+", text):
        check(os.path.exists(f"{source}/{script}"), f"{path}: no {script} in a checkout")
    for preset in re.findall(r"--preset (\S+)", text):
        check(preset in presets or "$" in preset, f"{path}: no preset {preset}")


def image(path, name):
    check(re.fullmatch(r"([a-z]+/)?[a-z]+:[\w.-]+", name), f"{path}: {name}: a bare name and tag are expected")


def apptainer(path):
    text = open(path).read()
    stages = re.split(r"(?m)^Bootstrap: ", text)[1:]
    check(len(stages) == 2, f"{path}: two stages are expected")
    known = []
    for stage in stages:
        header, *sections = re.split(r"(?m)^%", stage)
        fields = dict(re.findall(r"(?m)^(\w+): (.*)$", header))
        image(path, fields.get("From", ""))
        for section in sections:
            title, body = section.split("\n", 1)
            kind, *rest = title.split()
            check(kind in ("files", "post", "environment", "runscript", "test", "labels", "help"), f"{path}: %{kind}")
            check(not rest or (rest[0] == "from" and rest[1] in known), f"{path}: %{title}: no such stage before it")
            if kind != "files":
                commands(path, body)
        known.append(fields.get("Stage"))


def containerfile(path):
    text = open(path).read()
    lines = [line for line in text.replace("\\\n", " ").split("\n") if line and not line.startswith("#")]
    known, arguments = [], {}
    for line in lines:
        word, rest = line.split(" ", 1)
        check(word in ("ARG", "FROM", "ADD", "COPY", "WORKDIR", "RUN", "ENV", "USER"), f"{path}: {word}")
        if word == "ARG":
            arguments.setdefault(*rest.split("="))
        elif word == "FROM":
            name, *stage = rest.split(" AS ")
            image(path, arguments[name[2:-1]])
            known += stage
        elif word == "COPY":
            check(re.match(r"--from=(\w+) ", rest).group(1) in known, f"{path}: {line}: no such stage before it")
        elif word == "RUN":
            commands(path, rest)
    check(arguments["PRESET"] in presets, f"{path}: no preset {arguments['PRESET']}")


readers = {"easybuild/*.eb": easyconfig, "spack/packages/*/package.py": spack, "reframe/*.py": reframe,
           "apptainer/*.def": apptainer, "enroot/Containerfile": containerfile}
for pattern, read in readers.items():
    found = sorted(glob.glob(f"{source}/cluster/{pattern}"))
    check(found, f"cluster/{pattern}: there is none")
    for path in found:
        read(path)
        print(f"read: {os.path.relpath(path, source)}")
print("\n".join(wrong) or "recipes read well")
sys.exit(1 if wrong else 0)
