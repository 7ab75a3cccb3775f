package connection

import (
	"slices"
	"strings"
	"testing"
)

func TestToolFilter(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		allow, deny []string
		want        string
	}{
		{nil, nil, "list_files read_file delete_file"},
		{[]string{"list_files"}, nil, "list_files"},
		{[]string{"list_*", " read_file "}, nil, "list_files read_file"},
		{nil, []string{"delete_*"}, "list_files read_file"},
		{[]string{"*"}, []string{"read_file"}, "list_files delete_file"},
		{[]string{"read_file"}, []string{"read_file"}, ""},
		{[]string{"", "  "}, nil, "list_files read_file delete_file"},
		{[]string{"list"}, nil, ""},
	} {
		f, err := NewToolFilter(tc.allow, tc.deny)
		if err != nil {
			t.Errorf("%q, %q: %v", tc.allow, tc.deny, err)
		}
		var got []string
		for _, name := range []string{"list_files", "read_file", "delete_file"} {
			if f.Offers(name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != tc.want || f.All() != (len(got) == 3) {
			t.Errorf("allow %q, deny %q: %q, all %v", tc.allow, tc.deny, got, f.All())
		}
	}
	f, err := NewToolFilter([]string{"b", "a", "b"}, nil)
	if err != nil || !slices.Equal(f.Allow, []string{"a", "b"}) {
		t.Errorf("not tidied: %q, %v", f.Allow, err)
	}
	many := make([]string, 501)
	for i := range many {
		many[i] = strings.Repeat("x", i%100+1) + "-" + string(rune('a'+i/100))
	}
	for name, deny := range map[string][]string{"a * within": {"a*b"}, "too many": many, "too long": {strings.Repeat("x", 20<<10)}} {
		if _, err := NewToolFilter(nil, deny); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
