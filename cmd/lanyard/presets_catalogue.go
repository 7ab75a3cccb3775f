package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/config"
	"github.com/lanyardhq/lanyard/internal/install"
	"github.com/lanyardhq/lanyard/internal/mcp"
	"github.com/lanyardhq/lanyard/internal/runner"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
	"github.com/lanyardhq/lanyard/presets"
)

// listTimeout is for a server to start and to say what it offers.
const listTimeout = 2 * time.Minute

func (c *cli) presetsCatalogueCommand() *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use:   "catalogue [NAME]...",
		Short: "Start presets' servers and note what they offer",
		Long: `Start the servers of the named presets, or of all that are run here, as a task
would, with credentials that nothing accepts, and write down what each says of
itself: NAME.json. Clients are answered from it while the server does not run.

The presets are those that "lanyard dev" has, its settings for servers
(LANYARD_SERVER_ENV, LANYARD_SERVER_READ) and its data directory, in which
servers are installed, are used.`,
		Example: `  lanyard presets catalogue
  LANYARD_PRESETS=./ours lanyard presets catalogue weather --into ./ours/catalogues`,
		RunE: func(cmd *cobra.Command, names []string) error {
			cfg, err := config.Load(c.getenv)
			if err != nil {
				return err
			}
			loaded, err := presets.LoadForCatalogues(cfg.Presets)
			if err != nil {
				return err
			}
			if len(names) == 0 {
				for _, s := range loaded.Servers() {
					if s.Server.Registry != presets.RegistryRemote {
						names = append(names, s.Name)
					}
				}
			}
			for _, name := range names {
				s, ok := loaded.Server(name)
				if !ok {
					return fmt.Errorf("there is no preset %q: \"lanyard servers\" lists them", name)
				}
				file := filepath.Join(into, name+".json")
				if err := noteCatalogue(cmd.Context(), cfg, loaded, s, file, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				fmt.Fprintln(cmd.OutOrStdout(), file)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&into, "into", filepath.Join("presets", "catalogues"), "the directory to write to")
	return cmd
}

// noteCatalogue starts the server and writes what it says of itself.
func noteCatalogue(ctx context.Context, cfg config.Config, loaded *presets.Catalogue, s presets.Server, file string, logger *slog.Logger) error {
	known, err := startServer(ctx, cfg, loaded, s, cfg.ServerEnv, "", func(time.Duration, string) {}, logger)
	if err != nil {
		return err
	}
	data, err := presets.WriteCatalogue(s, known)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o644)
}

// startServer installs and starts a server, whose provider is in loaded, and returns
// what it says of itself. The server gets env, and may read the directory read, if
// any. While it still runs, seen is told how long it took to start and where its
// task's home is made.
func startServer(ctx context.Context, cfg config.Config, loaded *presets.Catalogue, s presets.Server, env map[string]string, read string, seen func(started time.Duration, tasks string), logger *slog.Logger) (mcp.Catalogue, error) {
	self, err := os.Executable()
	if err != nil {
		return mcp.Catalogue{}, err
	}
	installer := &install.Installer{Dir: filepath.Join(cfg.DataDir, "packages"), Logger: logger}
	dir, err := installer.Ensure(ctx, s)
	if err != nil {
		return mcp.Catalogue{}, err
	}
	at, err := loaded.AtDefaults(s)
	if err != nil {
		return mcp.Catalogue{}, err
	}
	recipe, err := s.Recipe(dir, presets.Inputs{Client: at, Deployment: map[string]string{"self": self, "demo_base": "http://127.0.0.1:9"}})
	if err != nil {
		return mcp.Catalogue{}, err
	}
	tasks, err := os.MkdirTemp("", "lanyard-catalogue-")
	if err != nil {
		return mcp.Catalogue{}, err
	}
	defer os.RemoveAll(tasks)
	readable := append([]string{filepath.Join(cfg.DataDir, "packages")}, cfg.ServerRead...)
	if read != "" {
		readable = append(readable, read)
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	told := &listing{recipe: recipe, access: worthless(s), heard: make(chan task.Report, 64), began: time.Now()}
	ended := make(chan error, 1)
	go func() {
		ended <- runner.RunConfined(ctx, runner.Config{TaskID: "catalogue", Ticket: "unused", Control: told, Dir: tasks,
			Read: readable, ExtraEnv: env, Logger: logger}, os.Environ())
	}()
	known, err := told.wait(ctx)
	if err == nil {
		seen(told.started, tasks)
	}
	cancel()
	return known, errors.Join(err, <-ended)
}

// listing is the far side of a task that is started to be asked what it offers.
type listing struct {
	recipe task.Recipe
	access token.Access
	heard  chan task.Report
	// started is how long after began it was ready.
	began   time.Time
	started time.Duration
}

// Claim implements [task.Control].
func (l *listing) Claim(context.Context, task.ClaimRequest) (task.Claim, error) {
	return task.Claim{Connection: "catalogue", Bearer: token.NewSecret(), Recipe: l.recipe, Access: l.access}, nil
}

// Token implements [task.Control].
func (l *listing) Token(context.Context, task.TokenRequest) (token.Access, error) {
	return l.access, nil
}

// Report implements [task.Control].
func (l *listing) Report(_ context.Context, r task.Report) error {
	l.heard <- r
	return nil
}

func (l *listing) wait(ctx context.Context) (mcp.Catalogue, error) {
	for {
		select {
		case r := <-l.heard:
			if r.State == task.Ready && l.started == 0 {
				l.started = time.Since(l.began)
			}
			switch {
			case r.Catalogue != nil:
				return *r.Catalogue, nil
			case r.State != task.Ready:
				return mcp.Catalogue{}, fmt.Errorf("the server did not start: %s", r.Detail)
			}
		case <-ctx.Done():
			return mcp.Catalogue{}, errors.New("the server did not say in time what it offers")
		}
	}
}

// worthless is an access that has all that the preset hands to its server, and
// opens nothing.
func worthless(s presets.Server) token.Access {
	const nothing = "worthless"
	tokens := map[string]token.Token{"": {AccessToken: nothing, ExpiresAt: time.Now().Add(time.Hour)}}
	out := token.Access{Tokens: tokens, Metadata: map[string]string{}, Values: map[string]token.Secret{}}
	for _, v := range s.EnvValues {
		out.Values[v.Name] = nothing
	}
	for field := range s.OAuthToEnvMapping {
		head, rest, dotted := strings.Cut(field, ".")
		switch {
		case field == "access_token", field == "expires_at", head == "credential_files", head == "value":
		case dotted && (rest == "access_token" || rest == "expires_at"):
			tokens[head] = tokens[""]
		default:
			out.Metadata[field] = nothing
		}
	}
	return out
}
