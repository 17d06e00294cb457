"""Small releases in every layout, and the tables each must give."""

from __future__ import annotations

import pathlib

Files = dict[str, bytes]
Tables = dict[str, str]

# Items 1 and 4 are one film, of different genres; item 3 has neither year nor genre; item 2 is not ASCII. Nobody rates
# item 5, and user 3 rates nothing.
HUNDRED_K: Files = {
    "u.data": b"1\t1\t4\t10\n10\t2\t3\t20\n1\t4\t5\t30\n2\t3\t1\t40\n",
    "u.item": "1|Toy Story (1995)|01-Jan-1995||url|0|1|1\n"
    "2|Misérables, Les (1995)|01-Jan-1995||url|0|1|0\n"
    "3|unknown||||1|0|0\n"
    "4|Toy Story (1995) |01-Jan-1995||url|0|0|1\n"
    "5|Unrated (1931)|||url|0|1|0\n".encode("latin-1"),
    "u.genre": b"unknown|0\nAction|1\nComedy|2\n\n",
    "u.user": b"1|24|M|technician|85711\n2|53|F|other|01002\n10|7|M|student|T8H1N\n3|30||none|1\n",
    "u1.base": b"1\t1\t4\t10\n2\t3\t1\t40\n",
    "u1.test": b"10\t2\t3\t20\n1\t4\t5\t30\n",
}
HUNDRED_K_TABLES: Tables = {
    "ratings.csv": """\
user_id,movie_title,user_rating,timestamp
1,Toy Story (1995),4.5,30
10,"Misérables, Les (1995)",3,20
2,unknown,1,40
""",
    "titles.csv": """\
movie_title,genres,release_year
"Misérables, Les (1995)",Action,1995
Toy Story (1995),Action|Comedy,1995
Unrated (1931),Action,1931
unknown,,
""",
    "users.csv": """\
user_id,user_age,user_gender,user_occupation,user_zip_code
1,24,M,technician,85711
10,7,M,student,T8H1N
2,53,F,other,01002
3,30,,none,1
""",
}
RECBOLE: Files = {
    "ml-100k.inter": b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + HUNDRED_K["u.data"],
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAction Comedy\n2\tMisérables, Les\t1995\tAction\n"
    "3\tunkonwn\tunkonwn\tunknown\n4\tToy Story\t1995\tComedy\n5\tUnrated\t1931\tAction\n".encode(),
    "ml-100k.user": b"user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    b"1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t01002\n10\t7\tM\tstudent\tT8H1N\n3\t30\t\tnone\t1\n",
}
ONE_M: Files = {
    "ratings.dat": b"1::1::5::978300760\n2::2::3::978302109\n10::2::4::5\n",
    "movies.dat": "1::2001: A Space Odyssey (1968)::Drama|Sci-Fi\n2::Misérables, Les (1995)::Drama\n".encode("latin-1"),
    "users.dat": b"1::F::1::10::48067\n2::M::56::16::70072-1234\n10::M::25::15::55117\n",
}
ONE_M_TABLES: Tables = {
    "ratings.csv": """\
user_id,movie_title,user_rating,timestamp
1,2001: A Space Odyssey (1968),5,978300760
10,"Misérables, Les (1995)",4,5
2,"Misérables, Les (1995)",3,978302109
""",
    "titles.csv": """\
movie_title,genres,release_year
2001: A Space Odyssey (1968),Drama|Sci-Fi,1968
"Misérables, Les (1995)",Drama,1995
""",
    "users.csv": """\
user_id,user_age,user_gender,user_occupation,user_zip_code
1,1,F,10,48067
10,25,M,15,55117
2,56,M,16,70072-1234
""",
}
TEN_M: Files = {
    "ratings.dat": b"1::1::0.5::978300760\n2::2::3.5::978302109\n",
    "movies.dat": "1::2001: A Space Odyssey (1968)::Drama|Sci-Fi\n2::Misérables, Les (1995)::Drama\n".encode(),
}
TEN_M_TABLES: Tables = {
    "ratings.csv": """\
user_id,movie_title,user_rating,timestamp
1,2001: A Space Odyssey (1968),0.5,978300760
2,"Misérables, Les (1995)",3.5,978302109
""",
    "titles.csv": ONE_M_TABLES["titles.csv"],
}
CSV: Files = {
    "ratings.csv": b"userId,movieId,rating,timestamp\r\n1,1,0.5,10\r\n2,2,3.5,20\r\n1,7,5.0,30\r\n",
    "movies.csv": 'movieId,title,genres\n1,"Misérables, Les (1995)",Drama\n'
    '2,"""Great Performances"" Cats (1998)",Musical|Drama\n'
    "7,Babylon 5,(no genres listed)\n9,Unrated (2001),Drama\n".encode(),
}
CSV_TABLES: Tables = {
    "ratings.csv": """\
user_id,movie_title,user_rating,timestamp
1,Babylon 5,5,30
1,"Misérables, Les (1995)",0.5,10
2,\"\"\"Great Performances\"\" Cats (1998)\",3.5,20
""",
    "titles.csv": """\
movie_title,genres,release_year
\"\"\"Great Performances\"\" Cats (1998)\",Musical|Drama,1998
Babylon 5,,
"Misérables, Les (1995)",Drama,1995
Unrated (2001),Drama,2001
""",
}

# Layout: files, and the tables they give, worked out by hand.
LAYOUTS: dict[str, tuple[Files, Tables]] = {
    "100K": (HUNDRED_K, HUNDRED_K_TABLES),
    "RecBole": (RECBOLE, HUNDRED_K_TABLES),
    "1M": (ONE_M, ONE_M_TABLES),
    "10M": (TEN_M, TEN_M_TABLES),
    "csv": (CSV, CSV_TABLES),
}
OWN_NAMES = "user_id,movie_title,user_rating\n"


def tables_in(folder: pathlib.Path) -> Tables:
    """The tables of a data folder, by their names relative to it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes().decode() for path in folder.rglob("*.csv")}
