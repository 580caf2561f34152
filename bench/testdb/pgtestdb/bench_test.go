// Measures pgtestdb as it comes, on the server the rest of the benchmark uses: time per database with its first query,
// cleanup aside. Reads the connection and the migrations from the environment, prints one JSON line per degree of
// parallelism.
package bench

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/peterldowns/pgtestdb"
)

type migrator struct{ files []string }

func (m migrator) Hash() (string, error) {
	hash := sha256.New()
	for _, file := range m.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		hash.Write(text)
	}
	return hex.EncodeToString(hash.Sum(nil))[:32], nil
}

func (m migrator) Migrate(ctx context.Context, db *sql.DB, _ pgtestdb.Config) error {
	if _, err := db.ExecContext(ctx, "create extension if not exists pg_stat_statements schema public"); err != nil {
		return err
	}
	for _, file := range m.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, string(text)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func TestTimes(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(os.Getenv("MIGRATIONS"), "*.up.sql"))
	sort.Strings(files)
	// The superuser is the only role the server lets into databases of names it does not know.
	config := pgtestdb.Config{
		DriverName: "pgx",
		Host:       os.Getenv("PGHOST"),
		Port:       os.Getenv("PGPORT"),
		User:       os.Getenv("PGUSER"),
		Password:   os.Getenv("PGPASSWORD"),
		Database:   "postgres",
		Options: fmt.Sprintf("sslmode=verify-full&sslrootcert=%s&sslcert=%s&sslkey=%s",
			os.Getenv("PGSSLROOTCERT"), os.Getenv("PGSSLCERT"), os.Getenv("PGSSLKEY")),
		TestRole: &pgtestdb.Role{Username: os.Getenv("PGUSER"), Password: os.Getenv("PGPASSWORD"), Capabilities: "SUPERUSER"},
	}
	var chain pgtestdb.Migrator = migrator{files}
	take := func(t *testing.T) time.Duration {
		start := time.Now()
		db := pgtestdb.New(t, config, chain)
		var count int
		if err := db.QueryRow("select count(*) from users").Scan(&count); err != nil {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	t.Run("template", func(t *testing.T) { take(t) })
	for _, takers := range []int{1, 8, 32} {
		times := make([]float64, 0, 128)
		var guard sync.Mutex
		var group sync.WaitGroup
		rounds := 64 / takers
		if rounds < 2 {
			rounds = 2
		}
		for taker := 0; taker < takers; taker++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for round := 0; round < rounds; round++ {
					t.Run("take", func(t *testing.T) {
						elapsed := take(t)
						guard.Lock()
						times = append(times, float64(elapsed.Microseconds())/1000)
						guard.Unlock()
					})
				}
			}()
		}
		group.Wait()
		line, _ := json.Marshal(map[string]any{"takers": takers, "times": times})
		fmt.Printf("RESULT %s\n", line)
	}
}
