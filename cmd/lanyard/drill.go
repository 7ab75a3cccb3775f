package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/demo"
)

// drillError is what keeps a drill provider from being asked.
type drillError struct {
	error
	hint string
	code int
}

func (e drillError) Unwrap() error { return e.error }

func (c *cli) drillCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drill",
		Short: "Rehearse what happens when a provider fails",
		Long: `Rehearse what happens when a provider fails: the demo provider answers requests
for new tokens wrongly, for a while, in one of the ways that "drill list" shows.

"drill rehearse" does it all by itself and needs nothing that runs. "drill start"
drills the demo provider of the "lanyard dev" that runs on this machine, or the
one that "drill serve" serves.`,
		Example: `  lanyard drill list
  lanyard drill rehearse
  lanyard drill start rate-limited --for 5m
  lanyard drill status
  lanyard drill stop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.drillListCommand(), c.drillRehearseCommand(), c.drillStartCommand(), c.drillStatusCommand(), c.drillStopCommand(), c.drillServeCommand())
	return cmd
}

func (c *cli) drillListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the behaviours, and what Lanyard is to make of them",
		Long: `List what the provider can be told to do, the verdict that Lanyard is to reach,
and what is to become of the connection once the drill is over.`,
		Example: `  lanyard drill list
  lanyard drill list --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.json {
				type behaviour struct {
					Name      string `json:"name"`
					Does      string `json:"does"`
					Verdict   string `json:"verdict"`
					Ambiguous bool   `json:"ambiguous"`
					Survives  bool   `json:"survives"`
				}
				out := []behaviour{}
				for _, b := range demo.Behaviours() {
					out = append(out, behaviour{b.Name, b.Does, b.Verdict, b.Ambiguous, !b.Ends})
				}
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"behaviours": out})
			}
			t := newTable(cmd.OutOrStdout())
			t.row("BEHAVIOUR", "VERDICT", "AFTERWARDS", "THE PROVIDER")
			for _, b := range demo.Behaviours() {
				t.row(b.Name, b.Verdict, afterwards(!b.Ends), b.Does)
			}
			return t.flush()
		},
	}
}

// afterwards is what became of a connection.
func afterwards(survived bool) string {
	if survived {
		return "survives"
	}
	return "reconnect needed"
}

func (c *cli) drillStartCommand() *cobra.Command {
	var at drillPlace
	var d demo.Drill
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "start BEHAVIOUR...",
		Short: "Make a running demo provider misbehave",
		Long: `Make a running demo provider misbehave: until "drill stop", or for a number of
requests or some time. Several behaviours follow each other, each that often or
that long (by default once). A drill ends with the provider's process, too.

Only requests for new tokens are affected. Where "drill list" says "reconnect
needed", that is what becomes of the demo connections whose tokens are renewed
meanwhile: at the demo provider, that is a click.` + drillHelp,
		Example: `  lanyard drill start server-error
  lanyard drill start rate-limited --for 5m
  lanyard drill start cut-off grace-same --account ada`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if cmd.Flags().Changed("for") && (length < time.Second || length%time.Second != 0) {
				return usagef("--for must be whole seconds, such as 5m")
			}
			if cmd.Flags().Changed("times") && d.Times < 1 {
				return usagef("--times must be 1 or more")
			}
			d.Behaviours, d.Seconds = names, int(length/time.Second)
			if len(names) > 1 && d.Times == 0 && d.Seconds == 0 {
				d.Times = 1
			}
			if err := d.Check(); err != nil {
				return usageError{fmt.Errorf("%w (\"lanyard drill list\" lists the behaviours)", err)}
			}
			return c.drill(cmd, at, "PUT", d)
		},
	}
	at.flags(cmd)
	cmd.Flags().IntVar(&d.Times, "times", 0, "for how many requests, each")
	cmd.Flags().DurationVar(&length, "for", 0, "for how long, each, such as 5m")
	cmd.Flags().StringVar(&d.Account, "account", "", "for the grants of this demo `account` only: ada or grace")
	return cmd
}

func (c *cli) drillStatusCommand() *cobra.Command {
	var at drillPlace
	cmd := &cobra.Command{
		Use: "status", Short: "Show whether a drill is on, and how it goes",
		Long:    "Show whether a drill is on, and how it goes." + drillHelp,
		Example: `  lanyard drill status`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.drill(cmd, at, "GET", nil) },
	}
	at.flags(cmd)
	return cmd
}

func (c *cli) drillStopCommand() *cobra.Command {
	var at drillPlace
	cmd := &cobra.Command{
		Use: "stop", Short: "End the drill",
		Long:    "End the drill: the provider renews tokens as it should again." + drillHelp,
		Example: `  lanyard drill stop`,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.drill(cmd, at, "DELETE", nil) },
	}
	at.flags(cmd)
	return cmd
}

// drill asks the provider, and shows how the drill goes.
func (c *cli) drill(cmd *cobra.Command, at drillPlace, method string, body any) error {
	site, err := c.drillSite(at)
	if err != nil {
		return err
	}
	status, answer, err := site.ask(cmd.Context(), method, body)
	if err != nil {
		return err
	}
	if c.json {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(answer)))
		return err
	}
	if method == "DELETE" {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "The provider behaves again. Requests that were answered otherwise: %d\n", status.Played)
		return err
	}
	return printDrill(cmd.OutOrStdout(), site.base, status)
}

func printDrill(w io.Writer, base string, s demo.DrillStatus) error {
	t := newTable(w)
	t.row("Provider", base)
	if len(s.Behaviours) == 0 {
		t.row("Drill", "none is on")
		return t.flush()
	}
	each := ""
	switch {
	case s.Times > 0:
		each = fmt.Sprintf(" (%d each)", s.Times)
	case s.Seconds > 0:
		each = fmt.Sprintf(" (%s each)", time.Duration(s.Seconds)*time.Second)
	}
	t.row("Drill", strings.Join(s.Behaviours, ", ")+each)
	if s.Account != "" {
		t.row("Account", s.Account)
	}
	now := s.Now
	if now == "" {
		now = "it is over"
	}
	t.row("Now", now)
	t.row("Answered so", strconv.Itoa(s.Played))
	if s.Now != "" && !s.Until.IsZero() {
		t.row("Until", moment(&s.Until))
	}
	return t.flush()
}
