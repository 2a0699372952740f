from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

root = Path(__file__).parent
config = ConfigParser()
config.read(root / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]

figures = settings["figures_requirements"].split()

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(root / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=settings["keywords"].split(),
    license=settings["license"],
    license_files=["LICENSE"],
    author=settings["author"],
    python_requires=f">={settings['min_python']}",
    packages=[settings["lib_path"]],
    package_data={settings["lib_path"]: ["data/*"]},
    entry_points={"console_scripts": settings["console_scripts"].split()},
    install_requires=settings["requirements"].split(),
    # One word each: pip 23 passes over an extra with an underscore, and says nothing.
    extras_require={
        "figures": figures,
        "dev": figures + settings["dev_requirements"].split(),
        "bench": figures + settings["bench_requirements"].split(),
        "torch": settings["torch_requirements"].split(),
        "mutants": settings["mutants_requirements"].split(),
        "site": settings["site_requirements"].split(),
        "browser": settings["site_requirements"].split() + settings["browser_requirements"].split(),
    },
)
