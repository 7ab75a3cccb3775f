package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/presets"
)

func (c *cli) presetsNewCommand() *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Ask a few questions, write a preset and try it",
		Long: `Ask what a server is, where its program comes from and what it reads; write its
preset, pin its packages by a lock, and start it once. Each question has an answer
in brackets that Enter takes.`,
		Example: `  lanyard presets new --into ./ours`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := newQuestions(cmd.InOrStdin(), cmd.ErrOrStderr())
			d, err := q.server()
			if err != nil {
				return err
			}
			if err := c.writeDraft(cmd, d, into); err != nil {
				return err
			}
			cfg, err := config.Load(c.getenv)
			if err != nil {
				return err
			}
			if !slices.Contains(cfg.Presets, into) {
				cfg.Presets = append(cfg.Presets, into)
			}
			if d.Server.Registry != presets.RegistryCommand {
				program := presets.Program{Registry: d.Server.Registry, Package: d.Server.Package, Version: d.Server.Version}
				if err := makeLock(cmd.Context(), d.Name, program, into); err != nil {
					return err
				}
			}
			return c.tryPreset(cmd, cfg, d.Name)
		},
	}
	cmd.Flags().StringVar(&into, "into", "my-presets", "the overlay `directory` to write to")
	return cmd
}

// questions are asked of a person, one line each.
type questions struct {
	in  *bufio.Scanner
	out io.Writer
}

func newQuestions(in io.Reader, out io.Writer) *questions {
	return &questions{bufio.NewScanner(in), out}
}

var errNoAnswer = errors.New("a question was not answered: the input has ended")

// ask returns the answer, or what is suggested for an empty one.
func (q *questions) ask(question, suggested string) (string, error) {
	if suggested != "" {
		question += " [" + suggested + "]"
	}
	fmt.Fprintf(q.out, "%s: ", printable(question))
	if !q.in.Scan() {
		return "", errors.Join(errNoAnswer, q.in.Err())
	}
	if answer := strings.TrimSpace(q.in.Text()); answer != "" {
		return answer, nil
	}
	return suggested, nil
}

// choose asks until the answer is one of those there are.
func (q *questions) choose(question string, from ...string) (string, error) {
	for {
		answer, err := q.ask(question+" ("+strings.Join(from, ", ")+")", from[0])
		if err != nil || slices.Contains(from, answer) {
			return answer, err
		}
	}
}

// server asks for everything that a preset needs.
func (q *questions) server() (presets.Draft, error) {
	var d presets.Draft
	registry, err := q.choose("Where does its program come from?", presets.RegistryNPM, presets.RegistryPyPI, presets.RegistryCommand)
	if err != nil {
		return d, err
	}
	d.Server.Registry = registry
	var program string
	if registry == presets.RegistryCommand {
		if program, err = q.ask("Which command starts it?", ""); err != nil {
			return d, err
		}
		d.Server.Command = strings.Fields(program)
		program, _, _ = strings.Cut(program, " ")
	} else {
		if program, err = q.ask("Which package is it?", ""); err != nil {
			return d, err
		}
		d.Server.Package = program
		if d.Server.Version, err = q.ask("Which version exactly?", ""); err != nil {
			return d, err
		}
	}
	for _, next := range []struct {
		question  string
		suggested func() string
		into      *string
	}{
		{"Its name here", func() string { return presets.NameFor(program) }, &d.Name},
		{"What are people shown?", func() string { return presets.Titled(d.Name) }, &d.DisplayName},
		{"What does it do, in a sentence?", func() string { return "" }, &d.Description},
	} {
		if *next.into, err = q.ask(next.question, next.suggested()); err != nil {
			return d, err
		}
	}
	return d, q.credentials(&d, nil)
}

// credentials asks how the server gets what it works with. The variables are those
// of which it is known that it reads them.
func (q *questions) credentials(d *presets.Draft, known []presets.RecordVariable) error {
	kind, err := q.choose("What does it work with?", string(presets.TypeOAuth), string(presets.TypeAPIKey), string(presets.TypeNone))
	if err != nil {
		return err
	}
	d.AuthType = presets.AuthType(kind)
	switch d.AuthType {
	case presets.TypeOAuth:
		return q.grant(d, known)
	case presets.TypeAPIKey:
		return q.keys(d, known)
	}
	return nil
}

func (q *questions) grant(d *presets.Draft, known []presets.RecordVariable) error {
	var err error
	if d.OAuthService, err = q.ask("Which provider grants access? \"lanyard providers\" lists them", d.Name); err != nil {
		return err
	}
	scopes, err := q.ask("Which scopes, with spaces between?", "")
	if err != nil {
		return err
	}
	for _, scope := range strings.Fields(scopes) {
		why, err := q.ask("What does "+scope+" let it do? People read this before they consent", "")
		if err != nil {
			return err
		}
		d.OAuthScopes = append(d.OAuthScopes, presets.DraftScope{Scope: scope, Why: why})
	}
	if d.Server.Registry == presets.RegistryRemote {
		return nil
	}
	suggested := ""
	for _, v := range known {
		if v.IsSecret && suggested == "" {
			suggested = v.Name
		}
	}
	variable, err := q.ask("Which variable takes the access token?", suggested)
	if err != nil {
		return err
	}
	d.OAuthToEnvMapping = map[string]string{"access_token": variable}
	return nil
}

func (q *questions) keys(d *presets.Draft, known []presets.RecordVariable) error {
	if len(known) == 0 {
		name, err := q.ask("Which variable takes the key?", "")
		if err != nil {
			return err
		}
		known = []presets.RecordVariable{{Name: name, IsSecret: true}}
	}
	for _, v := range known {
		label, err := q.ask("What are people asked for, for "+v.Name+"?", "API key")
		if err != nil {
			return err
		}
		d.EnvValues = append(d.EnvValues, presets.DraftValue{Name: v.Name, Label: label, Secret: v.IsSecret})
	}
	return nil
}
