# Lanyard. `make help` lists what there is to make.

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GO_FLAGS    := -trimpath -ldflags "-s -w"

.DEFAULT_GOAL := help
.PHONY: help run build test check unit e2e fuzz clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: build ## run Lanyard on this machine, on 127.0.0.1:8080
	./bin/lanyard dev

build: ## build the program into bin/
	CGO_ENABLED=0 go build $(GO_FLAGS) -o bin/lanyard ./cmd/lanyard

test: check unit e2e ## everything: checks, unit tests with the race detector, browser journeys

check: ## formatting, vet, staticcheck, tidy modules, shipped presets
	scripts/gofmt.sh
	go vet ./...
	go run $(STATICCHECK) ./...
	go mod tidy -diff
	go run ./cmd/lanyard presets lint

unit: ## unit tests with the race detector; with CI set, a skipped test fails
	scripts/unit.sh

e2e: build ## journeys in a real browser, with a real authorization server and real MCP servers
	scripts/e2e.sh

fuzz: ## each fuzz test for half a minute
	scripts/fuzz.sh 30s

clean: ## remove what was built, not your data
	rm -rf bin dist e2e/node_modules
