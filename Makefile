# Lanyard. `make help` lists what there is to make.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# A checksum of what the programs are made of, by which they know each other.
SOURCE       = $(shell find cmd internal presets go.mod go.sum -type f -exec cksum {} + | LC_ALL=C sort | cksum | cut -d' ' -f1)
GO_FLAGS     = -trimpath -ldflags "-s -w -X github.com/lanyardhq/lanyard/internal/build.source=$(SOURCE)"

.DEFAULT_GOAL := help
.PHONY: help run program build dist test check unit e2e e2e-aws e2e-refresher e2e-tasks e2e-conformance bench reproducible fuzz clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: program ## run Lanyard on this machine, on 127.0.0.1:8080
	./bin/lanyard dev

build: program dist ## build the program, and what a deployment uploads

program: ## build the program, and the small one that runs beside servers, into bin/
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/lanyard ./cmd/lanyard
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/lanyard-runner ./cmd/runner

dist: ## build what a deployment uploads into dist/, for arm64, the same bytes each time
	scripts/dist.sh

test: check infra unit reproducible e2e e2e-aws e2e-refresher e2e-tasks e2e-conformance ## everything: checks, unit tests with the race detector, journeys, proofs, MCP's own tests

check: ## formatting, vet, staticcheck, tidy modules, shipped presets
	scripts/gofmt.sh
	go vet ./...
	go run $(STATICCHECK) ./...
	go mod tidy -diff
	go run ./cmd/lanyard presets lint

unit: ## unit tests with the race detector; with CI set, a skipped test fails
	scripts/unit.sh

e2e: program ## journeys in a real browser, with a real authorization server and real MCP servers
	scripts/e2e.sh

.PHONY: e2e-presets servers
e2e-presets: program ## every server preset with its real package, connected, called, renewed
	scripts/e2e.sh presets

servers: program ## the same, and write what was seen: docs/servers.md
	E2E_SERVERS_TABLE=write scripts/e2e.sh presets

e2e-aws: program ## journeys against the functions that are deployed, run as Lambda does, on an emulator of AWS
	scripts/dist.sh bin/stack "$$(go env GOARCH)"
	go build -o bin/stack/stack ./e2e/stack
	scripts/emulators.sh scripts/e2e.sh aws

e2e-refresher: ## a thousand refreshers at once, and processes killed at each step of a renewal
	scripts/emulators.sh scripts/e2e.sh refresher

e2e-conformance: program ## MCP's official conformance suite, through the bridge and directly
	scripts/conformance.sh

e2e-tasks: ## calls while tokens are renewed, a thousand abandoned sessions, a server that spies
	go test -count=1 -timeout 10m ./e2e/tasks

bench: ## cold starts, the bridge beside others, refreshes a second, and a simulation of a million connections: docs/benchmarks.md
	scripts/bench.sh

reproducible: ## build dist/ a second time, elsewhere and from nothing, and compare
	scripts/reproducible.sh

.PHONY: providers
providers: ## write the table of providers from presets and fixtures: docs/providers.md
	go test ./internal/provider -run TestProvidersPage -update

fuzz: ## each fuzz test for half a minute
	scripts/fuzz.sh 30s

# The settings of a deployment: make deploy SETTINGS=../mine.yaml
SETTINGS ?= infra/settings.yaml
INFRA = cd infra && LANYARD_SETTINGS="$(abspath $(SETTINGS))"

.PHONY: infra synth deploy costs
infra: ## check the deployment: its module, its templates, what they allow
	scripts/infra.sh

synth: dist ## write the CloudFormation templates to infra/cdk.out; needs no network, no account
	$(INFRA) go run . synth

deploy: dist ## deploy to the AWS account of your credentials: docs/deploy.md
	cd infra && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	$(INFRA) npx cdk deploy --all

costs: synth ## print what the synthesized deployment costs: docs/costs.md
	@$(INFRA) go run . costs

clean: ## remove what was built, not your data
	rm -rf bin dist e2e/node_modules e2e/bench/node_modules e2e/clients/node_modules e2e/conformance/node_modules infra/node_modules infra/cdk.out
