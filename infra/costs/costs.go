// Package costs reckons what a deployment costs from its synthesized templates
// and a file of prices.
package costs

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/lanyardhq/lanyard/internal/config"
)

// Prices is prices.yaml: what AWS asks, and what the reckoning assumes.
type Prices struct {
	Date   string `yaml:"date"`
	Region string `yaml:"region"`
	Prices map[string]struct {
		USD    float64 `yaml:"usd"`
		Source string  `yaml:"source"`
	} `yaml:"prices"`
	Idle       map[string]float64 `yaml:"idle"`
	Connection map[string]float64 `yaml:"connection"`
	Renewal    map[string]float64 `yaml:"renewal"`
	Fresh      map[string]float64 `yaml:"fresh"`

	// missing are names that were asked for and are not there.
	missing []string
}

// Load reads a price file.
func Load(file string) (*Prices, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &Prices{}
	if err := yaml.UnmarshalWithOptions(data, p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for name, price := range p.Prices {
		if price.Source == "" || price.USD <= 0 {
			return nil, fmt.Errorf("%s: %s needs a price and a source", file, name)
		}
	}
	return p, nil
}

func (p *Prices) usd(name string) float64 {
	price, ok := p.Prices[name]
	if !ok {
		p.missing = append(p.missing, name)
	}
	return price.USD
}

func (p *Prices) assume(of map[string]float64, name string) float64 {
	v, ok := of[name]
	if !ok {
		p.missing = append(p.missing, name)
	}
	return v
}

const (
	minutesOfMonth = 365 * 24 * 60 / 12.0
	kbOfGB         = 1 << 20
	mbOfGB         = 1 << 10
)

// Stack is what costs need of a template.
type Stack struct {
	Resources map[string]struct {
		Type       string
		Properties struct {
			FunctionName, Cpu, Memory any
			MemorySize                float64
			Rules                     []any
		}
	}
}

// ReadStacks reads the templates that a synthesis has left in dir.
func ReadStacks(dir, name string) (out Stack, err error) {
	for _, part := range []string{"data", "service"} {
		data, err := os.ReadFile(filepath.Join(dir, name+"-"+part+".template.json"))
		if err != nil {
			return out, err
		}
		// Unmarshal adds to the map: the logical ids of two stacks that are the
		// same would be lost, which the test of the counts would tell.
		if err := json.Unmarshal(data, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (s Stack) count(kind string) (n float64) {
	for _, r := range s.Resources {
		if r.Type == kind {
			n++
		}
	}
	return n
}

// memory is a function's, in GB.
func (s Stack) memory(name string) float64 {
	for _, r := range s.Resources {
		if text, _ := r.Properties.FunctionName.(string); r.Type == "AWS::Lambda::Function" && strings.HasSuffix(text, "-"+name) {
			return r.Properties.MemorySize / mbOfGB
		}
	}
	return 0
}

// Line is one row of the idle table.
type Line struct {
	What string
	// Stored: a secret that is stored, which the limit for idling counts apart.
	Stored bool
	USD    float64
}

// Monthly is what a month costs in which nobody comes.
func (p *Prices) Monthly(s Stack) (lines []Line) {
	add := func(usd float64, format string, args ...any) {
		if usd > 0 {
			lines = append(lines, Line{What: fmt.Sprintf(format, args...), USD: usd})
		}
	}
	a := func(name string) float64 { return p.assume(p.Idle, name) }
	add(s.count("AWS::KMS::Key")*p.usd("kms_key_month"), "%.0f KMS key", s.count("AWS::KMS::Key"))
	secrets := s.count("AWS::SecretsManager::Secret")
	lines = append(lines, Line{What: fmt.Sprintf("%.0f secrets of our own", secrets), Stored: true, USD: secrets * p.usd("secret_month")})
	add(s.count("AWS::CloudWatch::Alarm")*p.usd("alarm_month"), "%.0f alarms", s.count("AWS::CloudWatch::Alarm"))
	runs := s.count("AWS::Scheduler::Schedule") * minutesOfMonth
	seconds := minutesOfMonth * a("sweep_ms") / 1000 * (s.memory("refresh") + s.memory("mcprun"))
	add(runs*(p.usd("schedule_call")+p.usd("lambda_call"))+seconds*p.usd("lambda_gb_second"), "%.0f sweeps", runs)
	add(runs*a("sweep_reads")*p.usd("dynamodb_read"), "what they read")
	add(runs*a("log_bytes")/1024/kbOfGB*p.usd("log_gb"), "what they log")
	polls := s.count("AWS::Lambda::EventSourceMapping") * a("queue_polls_minute") * minutesOfMonth
	add(polls*p.usd("sqs_call"), "%.0f looks into the queue (SQS's free million a month covers them)", polls)
	images := s.count("AWS::ECS::TaskDefinition")
	add(images*a("image_mb")/mbOfGB*p.usd("ecr_gb_month"), "%.0f images", images)
	add(a("assets_mb")/mbOfGB*p.usd("s3_gb_month"), "the functions' files")
	for _, r := range s.Resources {
		if r.Type == "AWS::WAFv2::WebACL" {
			add(p.usd("waf_acl_month")+float64(len(r.Properties.Rules))*p.usd("waf_rule_month"), "AWS WAF with %d rules", len(r.Properties.Rules))
		}
	}
	return lines
}

// perConnection is what a connection costs a month: kept, and used.
func (p *Prices) perConnection(s Stack, store string) (kept, used, hosted float64) {
	a := func(name string) float64 { return p.assume(p.Connection, name) }
	renewals, rotations, audit := a("renewals"), a("rotations"), a("audit_lines")
	stored := a("row_kb") + audit*a("audit_kb")*12 // a year of audit lines
	if store == config.StoreDynamoDB {
		stored += a("grant_kb")
	} else {
		kept += p.usd("secret_month")
	}
	kept += stored / kbOfGB * (p.usd("dynamodb_gb_month") + p.usd("dynamodb_backup_gb_month"))

	used += (renewals-rotations)*p.renewal(s, store, false) + rotations*p.renewal(s, store, true) + audit*p.usd("dynamodb_write")
	calls := a("calls")
	used += calls * (p.usd("cloudfront_call") + p.usd("cloudfront_function_call") + p.usd("rest_call") + 2*p.usd("lambda_call"))
	used += calls * p.usd("lambda_gb_second") * (a("call_ms")/1000*s.memory("mcprun") + 0.05*s.memory("authorizer"))
	used += calls * (6*p.usd("dynamodb_read") + a("call_kb")/kbOfGB*p.usd("cloudfront_gb"))

	hours := a("sessions") * a("session_minutes") / 60
	var each float64
	tasks := p.taskHours(s)
	for _, usd := range tasks {
		each += usd / float64(len(tasks))
	}
	return kept, used, hours * each
}

// taskHours is what an hour of each server's task costs, with its address: the
// cheapest first.
func (p *Prices) taskHours(s Stack) (out []float64) {
	for _, r := range s.Resources {
		if r.Type == "AWS::ECS::TaskDefinition" {
			var cpu, memory float64
			fmt.Sscan(fmt.Sprint(r.Properties.Cpu), &cpu)
			fmt.Sscan(fmt.Sprint(r.Properties.Memory), &memory)
			out = append(out, cpu/1024*p.usd("fargate_vcpu_hour")+memory/1024*p.usd("fargate_gb_hour")+p.usd("ipv4_hour"))
		}
	}
	sort.Float64s(out)
	return out
}

// Page is docs/costs.md.
func Page(s Stack, p *Prices) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# What it costs\n\n<!-- `make costs` prints this page, from the synthesized templates and infra/prices.yaml. -->\n\n"+
		"List prices of %s as of %s, without any free tier, for the deployment of `infra/settings.yaml` as it is shipped. "+
		"[infra/prices.yaml](../infra/prices.yaml) has each price with its source, and what a connection is taken to do; change it to your own, and `make costs` prints this page anew. "+
		"Nothing here was read from a bill.\n\n## Idle\n\nA month in which nobody comes:\n\n| | US$ |\n|---|---:|\n", p.Region, p.Date)
	lines := p.Monthly(s)
	sort.SliceStable(lines, func(i, j int) bool { return lines[i].USD > lines[j].USD })
	var own, total float64
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s | %.2f |\n", l.What, l.USD)
		if total += l.USD; l.Stored {
			own += l.USD
		}
	}
	fmt.Fprintf(&b, "| **together** | **%.2f** |\n\n", total)
	fmt.Fprintf(&b, "Without the secrets, which cost $0.40 each like every stored one, that is $%.2f; the limit that the design sets is $3.00 plus $0.40 a stored secret.\n\n", total-own)
	fmt.Fprintf(&b, "KMS keeps what a key was before it was rotated: after the first yearly rotation the key costs $%.2f more, after the second $%.2f, and no more from then on. "+
		"An account's free allowances, which the table leaves out, cover the alarms (ten), the queue, the sweeps and the table's first 25 GB.\n\n",
		p.usd("kms_rotation_month"), 2*p.usd("kms_rotation_month"))
	c := func(name string) float64 { return p.assume(p.Connection, name) }
	fmt.Fprintf(&b, "## A connection\n\nTaken for granted, a month: %.0f sessions of %.0f minutes, %.0f calls of %.1f seconds, %.0f renewals, %.0f of them with a new refresh token. "+
		"*Hosting* is the task on Fargate with its address, the mean of the enabled servers; a connection that only hands out tokens (`GET …/token`) has none.\n\n",
		c("sessions"), c("session_minutes"), c("calls"), c("call_ms")/1000, c("renewals"), c("rotations"))
	fmt.Fprintf(&b, "| US$ a month, each | kept | used | hosting | together |\n|---|---:|---:|---:|---:|\n")
	for _, store := range []string{config.StoreSecretsManager, config.StoreDynamoDB} {
		kept, used, hosted := p.perConnection(s, store)
		fmt.Fprintf(&b, "| `vault_store: %s` | %.4f | %.4f | %.4f | %.4f |\n", store, kept, used, hosted, kept+used+hosted)
	}
	fmt.Fprintf(&b, "\n## Many connections\n\nUS$ a month, idle costs included:\n\n| connections | kept and used, secretsmanager | kept and used, dynamodb | hosting, in addition |\n|---:|---:|---:|---:|\n")
	for _, n := range []float64{1, 100, 1000, 10000} {
		kept, used, hosted := p.perConnection(s, config.StoreSecretsManager)
		kept2, used2, _ := p.perConnection(s, config.StoreDynamoDB)
		fmt.Fprintf(&b, "| %.0f | %.2f | %.2f | %.2f |\n", n, total+n*(kept+used), total+n*(kept2+used2), n*hosted)
	}
	if tasks := p.taskHours(s); len(tasks) > 0 {
		fmt.Fprintf(&b, "\nA task that waits for a connection (`warm_pool`) runs all month: $%.2f to $%.2f each, by the size of its server.\n",
			tasks[0]*minutesOfMonth/60, tasks[len(tasks)-1]*minutesOfMonth/60)
	}
	b.WriteString(p.fresh(s))
	b.WriteString("\nAWS WAF (`waf: true`) adds $9.00 a month and $0.60 a million requests. Logs beyond what the sweeps write, and data that servers fetch, depend on the servers.\n")
	if len(p.missing) > 0 {
		sort.Strings(p.missing)
		return "", errors.New("prices.yaml lacks " + strings.Join(p.missing, ", "))
	}
	return b.String(), nil
}
