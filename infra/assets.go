package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"

	"github.com/lanyardhq/lanyard/presets"
)

// Assets are the files that a deployment uploads. They are put together in a
// directory that may go once the stacks are synthesized: CDK has its copies.
type Assets struct {
	// Dist holds what is built: NAME/bootstrap of each function, runner/runner
	// and server/server.
	Dist string
	// Image holds a directory with a Dockerfile of tasks for each registry that
	// servers come from.
	Image string
	// Presets are overlay directories, which functions carry with them.
	Presets []string
	// Work is where directories are put together.
	Work string
}

// bundle is where Lambda unpacks a function.
const bundle = "/var/task"

// Function returns the directory of a function's code.
func (a *Assets) Function(program string) (string, error) {
	built := filepath.Join(a.Dist, program)
	if _, err := os.Stat(filepath.Join(built, "bootstrap")); err != nil {
		return "", fmt.Errorf("the function %s is not built: run `make dist` first (%w)", program, err)
	}
	dir := filepath.Join(a.Work, "function-"+program)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := copyFile(filepath.Join(dir, "bootstrap"), filepath.Join(built, "bootstrap"), 0o755); err != nil {
		return "", err
	}
	for i, overlay := range a.Presets {
		if err := os.CopyFS(filepath.Join(dir, "presets", strconv.Itoa(i)), os.DirFS(overlay)); err != nil {
			return "", fmt.Errorf("take the presets %s along: %w", overlay, err)
		}
	}
	return dir, nil
}

// PresetsInBundle is what LANYARD_PRESETS is for a function; empty without
// overlays.
func (a *Assets) PresetsInBundle() string {
	var out []string
	for i := range a.Presets {
		out = append(out, path.Join(bundle, "presets", strconv.Itoa(i)))
	}
	return strings.Join(out, ":")
}

// ImageOf returns the directory that a server's image is built from: the runner,
// the server's lock, or the program that holds our own servers, and the Dockerfile
// for its registry.
func (a *Assets) ImageOf(server presets.Server) (string, error) {
	runner := filepath.Join(a.Dist, "runner", "runner")
	if _, err := os.Stat(runner); err != nil {
		return "", fmt.Errorf("the runner is not built: run `make dist` first (%w)", err)
	}
	dir := filepath.Join(a.Work, "image-"+server.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := copyFile(filepath.Join(dir, "runner"), runner, 0o755); err != nil {
		return "", err
	}
	if server.Own() {
		if err := copyFile(filepath.Join(dir, "server"), filepath.Join(a.Dist, "server", "server"), 0o755); err != nil {
			return "", fmt.Errorf("our servers are not built: run `make dist` first (%w)", err)
		}
	}
	if err := copyFile(filepath.Join(dir, "Dockerfile"), filepath.Join(a.Image, server.Server.Registry, "Dockerfile"), 0o644); err != nil {
		return "", err
	}
	for name, data := range server.LockFiles() {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

func copyFile(to, from string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}

// retention is CloudWatch's name of a number of days that the settings allow.
func retention(days int) awslogs.RetentionDays {
	names := []awslogs.RetentionDays{
		awslogs.RetentionDays_ONE_DAY, awslogs.RetentionDays_THREE_DAYS, awslogs.RetentionDays_FIVE_DAYS, awslogs.RetentionDays_ONE_WEEK,
		awslogs.RetentionDays_TWO_WEEKS, awslogs.RetentionDays_ONE_MONTH, awslogs.RetentionDays_TWO_MONTHS, awslogs.RetentionDays_THREE_MONTHS,
		awslogs.RetentionDays_FOUR_MONTHS, awslogs.RetentionDays_FIVE_MONTHS, awslogs.RetentionDays_SIX_MONTHS, awslogs.RetentionDays_ONE_YEAR,
		awslogs.RetentionDays_THIRTEEN_MONTHS, awslogs.RetentionDays_EIGHTEEN_MONTHS, awslogs.RetentionDays_TWO_YEARS, awslogs.RetentionDays_THREE_YEARS,
		awslogs.RetentionDays_FIVE_YEARS, awslogs.RetentionDays_SIX_YEARS, awslogs.RetentionDays_SEVEN_YEARS, awslogs.RetentionDays_EIGHT_YEARS,
		awslogs.RetentionDays_NINE_YEARS, awslogs.RetentionDays_TEN_YEARS,
	}
	return names[slices.Index(retentionDays, days)]
}
