// Command infra is Lanyard's deployment: two CloudFormation stacks, written
// with the AWS CDK. `cdk` runs it by itself (cdk.json); by hand:
//
//	go run . synth              write the templates to cdk.out
//	go run . costs              print what the deployment costs, as Markdown
//
// settings.yaml holds what a deployment may choose.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"

	"github.com/lanyardhq/lanyard/infra/costs"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "infra:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("infra", flag.ContinueOnError)
	settings := flags.String("settings", or(os.Getenv("LANYARD_SETTINGS"), "settings.yaml"), "the settings file")
	dist := flags.String("dist", "../dist", "where the functions and the runner are built")
	out := flags.String("out", or(os.Getenv("CDK_OUTDIR"), "cdk.out"), "where the templates go")
	command := "synth"
	if len(args) > 0 && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := LoadSettings(*settings)
	if err != nil {
		return err
	}
	switch command {
	case "synth":
		return Synth(s, &Assets{Dist: *dist, Image: "../image"}, *out)
	case "costs":
		prices, err := costs.Load("prices.yaml")
		if err != nil {
			return err
		}
		stacks, err := costs.ReadStacks(*out, s.Name)
		if err != nil {
			return fmt.Errorf("the costs are reckoned from the templates: run `make synth` first (%w)", err)
		}
		page, err := costs.Page(stacks, prices)
		fmt.Print(page)
		return err
	}
	return fmt.Errorf("there is no command %q: synth or costs", command)
}

func or(value, otherwise string) string {
	if value != "" {
		return value
	}
	return otherwise
}

// Synth writes the cloud assembly of a deployment: templates and assets.
func Synth(s Settings, assets *Assets, out string) (err error) {
	if _, err := exec.LookPath("node"); err != nil {
		return errors.New("the AWS CDK needs Node.js 20 or newer: install it from https://nodejs.org")
	}
	if assets.Work, err = os.MkdirTemp("", "lanyard-infra-"); err != nil {
		return err
	}
	defer os.RemoveAll(assets.Work)
	assets.Presets = s.Presets
	// Node ends with the process; a test synthesizes several times with one.
	app := awscdk.NewApp(&awscdk.AppProps{Outdir: jsii.String(out), AnalyticsReporting: jsii.Bool(false), TreeMetadata: jsii.Bool(false)})
	data := NewData(app, s)
	if _, err := NewService(app, s, data, assets); err != nil {
		return err
	}
	awscdk.Aspects_Of(app).Add(cdknag.NewAwsSolutionsChecks(nil), nil)
	app.Synth(nil)
	return nil
}
