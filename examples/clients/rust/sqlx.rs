use sqlx::PgPool;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    for number in 0..10 {
        let (name, email) = (format!("ada{number}"), format!("ada{number}@example.com"));
        let mut transaction = pool.begin().await?;
        sqlx::query("insert into users (username, email, hashed_password) values ($1, $2, 'x')")
            .bind(&name)
            .bind(&email)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        let read: String = sqlx::query_scalar("select email from users where username = $1")
            .bind(&name)
            .fetch_one(&pool)
            .await?;
        assert_eq!(read, email);
        sqlx::query("delete from users where username = $1").bind(&name).execute(&pool).await?;
    }
    Ok(())
}
