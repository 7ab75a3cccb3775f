package web

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestDocsListEveryCode: a code is a promise, so each stands in docs/api.md
// under its status.
func TestDocsListEveryCode(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, "|")
		if len(cells) == 4 && strings.Contains(cells[2], "`") {
			for status := range strings.SplitSeq(cells[1], ",") {
				rows[strings.TrimSpace(status)] += cells[2]
			}
		}
	}
	check := func(p *Problem) {
		status := strconv.Itoa(p.Status)
		if !strings.Contains(rows[status], "`"+p.Code+"`") {
			t.Errorf("docs/api.md does not list `%s` under %s", p.Code, status)
		}
	}
	for _, k := range known {
		check(problemOf(k.err))
	}
	for _, p := range []*Problem{ErrUnauthorized, errNoKey, errForbidden, errCrossSite, errNotFound, errNoSuchToken, errRequestEnded, errRequestServer, errRequestUser, errOperator, badRequest("", "")} {
		check(p)
	}
}
