// Command probe is a function that does what its event says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-lambda-go/lambda"
)

type event struct {
	Do string `json:"do"`
}

var ticks atomic.Int64

func main() {
	go func() {
		for range time.Tick(time.Millisecond) {
			ticks.Add(1)
		}
	}()
	if os.Getenv("PROBE") == "broken" {
		os.Stderr.WriteString("PROBE is broken\n")
		os.Exit(1)
	}
	lambda.Start(func(ctx context.Context, e event) (any, error) {
		switch e.Do {
		case "env":
			return os.Environ(), nil
		case "pid":
			return os.Getpid(), nil
		case "ticks":
			return ticks.Load(), nil
		case "deadline":
			deadline, _ := ctx.Deadline()
			return time.Until(deadline).Seconds(), nil
		case "error":
			return nil, errors.New("it went wrong")
		case "exit":
			os.Exit(3)
		case "hang":
			time.Sleep(time.Hour)
		case "wait":
			time.Sleep(50 * time.Millisecond)
		case "stream", "break":
			r, w := io.Pipe()
			go func() {
				_, _ = io.WriteString(w, "first\n")
				// The reader says by a file that it has seen that.
				for name := os.Getenv("PROBE"); ; time.Sleep(time.Millisecond) {
					if _, err := os.Stat(name); err == nil {
						break
					}
				}
				_, _ = io.WriteString(w, "second\n")
				if e.Do == "break" {
					_ = w.CloseWithError(errors.New("broke off"))
				}
				_ = w.Close()
			}()
			return &events.APIGatewayProxyStreamingResponse{StatusCode: 207, Headers: map[string]string{"X": "y"}, Body: r}, nil
		}
		return json.RawMessage(`"` + strings.ToUpper(e.Do) + `"`), nil
	})
}
