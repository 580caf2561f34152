package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "github.com/lib/pq"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	// Without the parameter, a query is sent in two steps, and in transaction mode others come between them.
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL")+"&binary_parameters=yes")
	if err != nil {
		return err
	}
	defer db.Close()
	read, err := db.Prepare("select email from users where username = $1")
	if err != nil {
		return err
	}
	defer read.Close()
	for number := range 10 {
		name, email := fmt.Sprintf("ada%d", number), fmt.Sprintf("ada%d@example.com", number)
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		if _, err := tx.Exec("insert into users (username, email, hashed_password) values ($1, $2, 'x')", name, email); err != nil {
			tx.Rollback()
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		var found string
		if err := read.QueryRow(name).Scan(&found); err != nil || found != email {
			return fmt.Errorf("%s: read %q, %w", name, found, err)
		}
		if _, err := db.Exec("delete from users where username = $1", name); err != nil {
			return err
		}
	}
	return nil
}
