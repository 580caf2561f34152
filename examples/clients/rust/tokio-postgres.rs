use std::collections::HashMap;

use rustls::pki_types::{pem::PemObject, CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

/// tokio-postgres takes no certificates in a URL. They are read here, and the rest of the URL is left to it.
fn settings() -> Result<(String, MakeRustlsConnect), Box<dyn std::error::Error>> {
    let mut url = Url::parse(&std::env::var("DATABASE_URL")?)?;
    let files: HashMap<String, String> = url.query_pairs().into_owned().collect();
    url.set_query(Some("sslmode=require")); // rustls verifies the server's chain and name
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&files["sslrootcert"])? {
        roots.add(certificate?)?;
    }
    let chain = CertificateDer::pem_file_iter(&files["sslcert"])?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&files["sslkey"])?;
    let tls = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    Ok((url.into(), MakeRustlsConnect::new(tls)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, tls) = settings()?;
    let (mut client, connection) = tokio_postgres::connect(&url, tls).await?;
    tokio::spawn(connection);
    let read = client.prepare("select email from users where username = $1").await?;
    for number in 0..10 {
        let (name, email) = (format!("ada{number}"), format!("ada{number}@example.com"));
        let transaction = client.transaction().await?;
        let insert = "insert into users (username, email, hashed_password) values ($1, $2, 'x')";
        transaction.execute(insert, &[&name, &email]).await?;
        transaction.commit().await?;
        assert_eq!(client.query_one(&read, &[&name]).await?.get::<_, String>(0), email);
        client.execute("delete from users where username = $1", &[&name]).await?;
    }
    Ok(())
}
