package runner

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/token"
)

// maxAssignment bounds an assignment, in bytes.
const maxAssignment = 4 << 10

// wait registers the task and returns the ticket that it is given. Until then it
// serves nothing else, and there is nothing of a server.
func (r *run) wait(ctx context.Context, ln net.Listener, id *identity, address string) (token.Secret, error) {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return "", errors.New("a warm task listens by TCP")
	}
	warm, err := r.cfg.Register(ctx, task.WarmRequest{TaskID: r.cfg.TaskID, Address: address, KeyFingerprint: id.fingerprint})
	if err != nil {
		return "", err
	}
	if warm.Bearer == "" {
		return "", errors.New("the registration has no bearer")
	}
	assigned := make(chan token.Secret, 1)
	mux := http.NewServeMux()
	mux.Handle("POST "+task.AssignPath, assignment(assigned))
	srv := &http.Server{
		Handler:           authorized(warm.Bearer.Reveal(), mux),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{id.cert}, MinVersion: tls.VersionTLS13},
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(r.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(kept{tcp}, "", "") }()
	defer srv.Close()
	select {
	case ticket := <-assigned:
		// Its answer is sent, and who dials from now on waits for the task proper.
		closing, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if err := srv.Shutdown(closing); err != nil {
			_ = srv.Close() // somebody else holds a connection
		}
		<-served
		return ticket, tcp.SetDeadline(time.Time{})
	case err := <-served:
		return "", err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// kept is a listener whose closing ends accepting alone: another server goes on
// with it, and with what has dialled meanwhile.
type kept struct{ *net.TCPListener }

// Close implements [net.Listener].
func (k kept) Close() error { return k.SetDeadline(time.Unix(1, 0)) }

// assignment takes one ticket, once.
func assignment(assigned chan<- token.Secret) http.Handler {
	var once sync.Mutex
	taken := false
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in task.Assignment
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAssignment))
		if dec.Decode(&in) != nil || in.Ticket == "" {
			http.Error(w, "this is no assignment", http.StatusBadRequest)
			return
		}
		once.Lock()
		defer once.Unlock()
		if taken {
			http.Error(w, "this task is assigned already", http.StatusConflict)
			return
		}
		taken = true
		w.WriteHeader(http.StatusNoContent)
		assigned <- in.Ticket
	})
}
