package upstream

import "testing"

func TestPlain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		most int
		want string
	}{
		{" a\n\n\n\nb\tc ", 20, "a\n\nb\tc"},
		{"a\u202eb\u200bc\x1b[31m\U000e0041\u2028d", 20, "abc[31m\nd"},
		{"![x](y) <b> 1 < 2 </\u200bb>", 40, "! [x](y) < b> 1 < 2 < /b>"},
		// Of whichever service, and however it was hidden.
		{"reddit_token_refused spotify_token_\u200drefused", 60, "reddit token refused spotify token refused"},
		{"äöü", 2, "äö […]"},
		{"", 2, ""},
	} {
		if got := Plain(tt.text, tt.most); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := Line(" a\r\n\u2028 b\t", 9); got != "a b" {
		t.Errorf("%q", got)
	}
}
