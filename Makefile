# One way to run anything. `make` alone lists the targets. Each installs what it misses, once.

PYTHON ?= python3
VENV := .venv
REFERENCE_VENV := .venv-reference
REFERENCE_AGENT_VENV := .venv-reference-25
BIN := $(VENV)/bin

export PYTHON
export BAGPIPE_REFERENCE_VENV ?= $(CURDIR)/$(REFERENCE_VENV)
export BAGPIPE_REFERENCE_AGENT_VENV ?= $(CURDIR)/$(REFERENCE_AGENT_VENV)

.DEFAULT_GOAL := help
.PHONY: help venv packages reference test unit lint format bench lab lab-scenario lab-shell lab-bgp lab-speaker lab-show lab-down ledger config docs clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

packages:
	@tools/debian-packages

venv: packages
	@tools/virtualenv $(VENV) --editable '.[neutron,lab,test,lint,docs]'

# The reference daemon (networking-bagpipe 20.0.0) and ExaBGP need old neighbours, so they live apart.
reference: packages
	@tools/virtualenv $(REFERENCE_VENV) networking-bagpipe==20.0.0 exabgp==4.2.21 'pyroute2<0.8' 'neutron<26' \
		'neutron-lib<3.17' 'networking-bgpvpn<25' 'sqlalchemy<2.1' 'setuptools<80'
	@tools/virtualenv $(REFERENCE_AGENT_VENV) networking-bagpipe==25.0.0 networking-bgpvpn==25.0.0 neutron==29.0.0 pyroute2 PyMySQL pyuwsgi

test: venv reference ## All tests, real peers included (root); ARGS='-k name' narrows them
	@$(BIN)/python -m pytest $(ARGS)

unit: venv ## The tests that need neither root nor other programs
	@$(BIN)/python -m pytest tests/unit tests/property tests/pair tests/replay $(ARGS)

lint: venv ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict src

format: venv ## Rewrite the source in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: venv reference ## Measure this speaker and its peers, write docs/performance.md
	@$(BIN)/python -m bench $(ARGS)

lab: venv ## A real Neutron with BGP VPNs: two compute hosts, a backbone, told as a story (root)
	@$(BIN)/python -m bagpipe.lab up $(ARGS)

lab-scenario: venv ## Play a scenario on it: NAME=list shows them, NAME=all plays them
	@$(BIN)/python -m bagpipe.lab scenario $(or $(NAME),list)

lab-shell: venv ## A shell on a machine or host of the running lab: VM=vm1
	@$(BIN)/python -m bagpipe.lab shell $(or $(VM),vm1)

lab-bgp: venv ## A smaller lab: a reflector, two speakers and a router, BGP alone (root)
	@$(BIN)/python -m bagpipe.lab bgp

lab-speaker: venv ## Two compute hosts on Open vSwitch, four machines in two VPNs, with real packets (root)
	@$(BIN)/python -m bagpipe.lab speaker $(ARGS)

lab-show: venv ## What the running lab holds now
	@$(BIN)/python -m bagpipe.lab show

lab-down: venv ## End the lab
	@$(BIN)/python -m bagpipe.lab down

ledger: venv ## Count what rfc/ says is proven and what is a gap
	@$(BIN)/python tools/rfc_ledger.py

config: venv ## Write the samples in etc/ and docs/configuration-reference.md from the options
	@$(BIN)/python tools/generated_configuration.py

docs: venv ## The documentation as pages, in build/docs; a warning is an error
	@$(BIN)/python -m sphinx -b html -W --keep-going -n -q -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

clean: ## Remove the virtual environments and caches
	rm -rf $(VENV) $(REFERENCE_VENV) $(REFERENCE_AGENT_VENV) .venv-openstack .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
