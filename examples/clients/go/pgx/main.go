package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	for number := range 10 {
		name, email := fmt.Sprintf("ada%d", number), fmt.Sprintf("ada%d@example.com", number)
		err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "insert into users (username, email, hashed_password) values ($1, $2, 'x')", name, email)
			return err
		})
		if err != nil {
			return err
		}
		var read string
		if err := pool.QueryRow(ctx, "select email from users where username = $1", name).Scan(&read); err != nil || read != email {
			return fmt.Errorf("%s: read %q, %w", name, read, err)
		}
		if _, err := pool.Exec(ctx, "delete from users where username = $1", name); err != nil {
			return err
		}
	}
	return nil
}
